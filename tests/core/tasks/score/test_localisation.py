"""Maps against masks: what is counted, at which resolution, and what is left out."""

from __future__ import annotations

import dataclasses
import resource
import time

import numpy as np
import pytest
import torch
from PIL import Image

from moekit import Sample
from moekit.tasks.score.localisation import choose_edges, count_maps, localise
from moekit.tasks.score.masks import LONGEST_SIDE, RegionMask, read_regions
from moekit.testing import refused

SIZE = (8, 8)


def drawn_maps(images, side=6, *, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.random((side, side)).astype(np.float32) for _ in range(images)]


def drawn_masks(images, shape=(24, 18), *, seed=1):
    """Masks of two rectangles each; every third image holds none."""
    generator = np.random.default_rng(seed)
    masks = []
    for number in range(images):
        mask = np.zeros(shape, dtype=bool)
        for _ in range(2 if number % 3 else 0):
            row, column = generator.integers(0, shape[0] - 6), generator.integers(0, shape[1] - 6)
            mask[row : row + 5, column : column + generator.integers(2, 6)] = True
        masks.append(mask)
    return masks


def enlarged(evidence, shape):
    small = torch.from_numpy(evidence)[None, None]
    return torch.nn.functional.interpolate(small, size=shape, mode="bilinear")[0, 0].numpy()


def sample(tmp_path, name, label, mask=None):
    path = None
    if mask is not None:
        path = tmp_path / f"{name}-mask.png"
        Image.fromarray(np.asarray(mask)).save(path)
    return Sample(id=name, path=tmp_path / name, label=label, mask=path)


def square(shape=SIZE):
    mask = np.zeros(shape, dtype=bool)
    mask[2:5, 2:5] = True
    return mask


def test_pixels_are_counted_at_the_resolution_of_the_mask():
    maps, masks = drawn_maps(5), drawn_masks(5)
    counts = count_maps(maps, [RegionMask.of(mask) for mask in masks])
    place = len(counts.edges_T) // 2
    for row, (evidence, mask) in enumerate(zip(maps, masks, strict=True)):
        reaching = enlarged(evidence, mask.shape) >= np.float32(counts.edges_T[place])
        assert counts.negatives_NT[row, place] == (reaching & ~mask).sum()
        assert counts.regions_RT[counts.image_R == row, place].sum() == (reaching & mask).sum()
    assert counts.negatives_T[0] + counts.positives_T[0] == 5 * 24 * 18


def test_regions_touch_at_corners_and_are_told_apart_elsewhere():
    mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], dtype=bool)
    found = RegionMask.of(mask)
    assert found.sizes_R.tolist() == [2, 2]
    assert found.pixels_P.tolist() == [0, 5, 7, 11]


def test_a_region_is_covered_by_the_share_of_its_pixels_that_reach_a_threshold():
    counts = count_maps(
        [np.array([[0.9, 0.6, 0.1, 0.7]])], [RegionMask.of(np.array([[1, 1, 0, 1]]))]
    )
    (at,) = np.flatnonzero(counts.edges_T == np.float32(0.7))
    assert counts.sizes_R.tolist() == [2, 1]
    assert counts.regions_RT[:, at].tolist() == [1, 1]
    assert counts.overlap_T[at] == pytest.approx((1 / 2 + 1) / 2)
    assert counts.negatives_T[at] == 0


def test_a_larger_mask_is_reduced_and_a_region_without_a_pixel_left_is_told():
    mask = np.zeros((3000, 1500), dtype=bool)
    mask[600:1200, 300:900] = True
    mask[0, 0] = True
    found = RegionMask.of(mask)
    assert (found.height, found.width) == (LONGEST_SIDE, LONGEST_SIDE // 2)
    assert found.vanished == 1
    assert found.sizes_R == pytest.approx([600 * 600 * (LONGEST_SIDE / 3000) ** 2], rel=0.02)


def test_the_thresholds_rise_begin_at_zero_and_resolve_rare_false_positives():
    generator = np.random.default_rng(0)
    maps = [generator.beta(2, 30, (32, 32)).astype(np.float32) for _ in range(120)]
    masks = [RegionMask.empty((64, 64))] * 100 + [RegionMask.of(square((64, 64)))] * 20
    edges = choose_edges(maps, masks)
    assert edges[0] == 0
    assert (np.diff(edges) > 0).all()
    assert 1000 <= len(edges) <= 2000
    counts = count_maps(maps, masks)
    rates = counts.negatives_T / counts.negatives_T[0]
    assert ((rates > 0) & (rates < 1e-4)).sum() >= 5
    assert np.abs(np.diff(rates)).max() < 0.02


def test_few_values_are_thresholds_themselves():
    maps = drawn_maps(4)
    counts = count_maps(maps, [RegionMask.of(mask) for mask in drawn_masks(4)])
    assert np.isin(np.concatenate(maps).reshape(-1), counts.edges_T).all()


def test_a_weight_is_as_good_as_having_the_image_so_often():
    counts = count_maps(drawn_maps(4), [RegionMask.of(mask) for mask in drawn_masks(4)])
    times = np.array([2, 0, 1, 3])
    images, regions = np.repeat(np.arange(4), times), times[counts.image_R]
    shares = np.repeat(counts.regions_RT / counts.sizes_R[:, None], regions, axis=0)
    (together,) = counts.reweighted(times[None].astype(float))
    for weighted in (together, dataclasses.replace(counts, weights_N=times.astype(float))):
        np.testing.assert_array_equal(weighted.negatives_T, counts.negatives_NT[images].sum(0))
        positive = np.repeat(counts.regions_RT, regions, axis=0).sum(0)
        np.testing.assert_array_equal(weighted.positives_T, positive)
        np.testing.assert_allclose(weighted.overlap_T, shares.mean(0))


def test_some_of_the_images_keep_their_own_regions():
    counts = count_maps(drawn_maps(6), [RegionMask.of(mask) for mask in drawn_masks(6)])
    part = counts.take(np.array([4, 0, 2]))
    assert (part.negatives_NT == counts.negatives_NT[[4, 0, 2]]).all()
    for place, row in enumerate((4, 0, 2)):
        mine, theirs = part.image_R == place, counts.image_R == row
        assert (part.regions_RT[mine] == counts.regions_RT[theirs]).all()


def test_a_good_image_without_a_mask_is_negative_in_every_pixel(tmp_path):
    given = [sample(tmp_path, "good", 0), sample(tmp_path, "bad", 1, square())]
    found = localise(given, [SIZE] * 2, drawn_maps(2, 4), drawn_maps(2, 4, seed=5))
    assert found.kit.negatives_NT[:, 0].tolist() == [64, 64 - 9]
    assert found.baseline.negatives_NT[:, 0].tolist() == [64, 64 - 9]
    assert found.rows.tolist() == [0, 1]
    assert not found.left_out


def test_an_unusable_mask_leaves_its_image_out_and_is_named(tmp_path):
    gone = Sample(id="gone", path=tmp_path / "x", label=1, mask=tmp_path / "no.png")
    broken = sample(tmp_path, "broken", 1, square())
    broken.mask.write_bytes(broken.mask.read_bytes()[:40])
    given = [
        *(gone, broken, sample(tmp_path, "none", 1), sample(tmp_path, "small", 1, square((4, 4)))),
        *(sample(tmp_path, "empty", 1, square() & False), sample(tmp_path, "marked", 0, square())),
        *(sample(tmp_path, "usable", 1, square()), sample(tmp_path, "good", 0)),
    ]
    found = localise(given, [SIZE] * 8, drawn_maps(8, 4))
    assert found.rows.tolist() == [6, 7]
    reasons = {skip.id: skip.reason for skip in found.left_out}
    assert set(reasons) == {"gone", "broken", "none", "small", "empty", "marked"}
    assert reasons["gone"] == "its mask cannot be used: the file does not exist"
    assert "the mask has 4 x 4 pixels, its image 8 x 8" in reasons["small"]
    assert reasons["none"] == "it is positive and has no mask"


def test_without_maps_or_masks_there_is_a_reason(tmp_path):
    given = [sample(tmp_path, "good", 0), sample(tmp_path, "bad", 1)]
    found = localise(given, [SIZE] * 2, drawn_maps(2))
    assert found.kit is None
    assert found.reason == "the samples of the split have no masks"
    assert not found.left_out
    empty = [given[0], sample(tmp_path, "empty", 1, square() & False)]
    unusable = localise(empty, [SIZE] * 2, drawn_maps(2))
    assert unusable.reason == "no positive image of the split has a usable mask"
    assert [skip.id for skip in unusable.left_out] == ["empty"]
    assert localise(given, [SIZE] * 2, [None] * 2).reason == "the kit's head gives no maps"


def test_a_map_that_holds_no_numbers_is_an_error_that_names_the_image(tmp_path):
    maps = drawn_maps(2)
    maps[1][0, 0] = np.nan
    given = [sample(tmp_path, "good", 0), sample(tmp_path, "bad", 1, square())]
    with refused("data/bad-scores", match="bad"):
        localise(given, [SIZE] * 2, maps)


@pytest.mark.parametrize("values", [1, 255, 7])
def test_any_value_but_black_is_positive(tmp_path, values):
    given = sample(tmp_path, "bad", 1, (square() * values).astype(np.uint8))
    assert read_regions(given, SIZE).sizes_R.tolist() == [9]


def test_a_mask_of_another_size_is_refused(tmp_path):
    with refused("image/mask-unusable", match="8 x 8.*9 x 8"):
        read_regions(sample(tmp_path, "bad", 1, square()), (8, 9))


def test_a_set_of_the_usual_size_is_counted_in_seconds_and_in_little_memory():
    generator = np.random.default_rng(0)
    raw = drawn_masks(160, (512, 512))
    maps = [generator.beta(2, 20, (32, 32)).astype(np.float32) for _ in raw]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    counts = count_maps(maps, [RegionMask.of(mask) for mask in raw])
    for one in counts.reweighted(generator.multinomial(160, np.ones(160) / 160, 1000) * 1.0):
        assert one.overlap_T[0] == 1
    assert time.perf_counter() - began < 15
    assert len(counts.image_R) > 150
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200
