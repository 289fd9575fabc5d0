"""Metrics of localisation against scikit-learn, anomalib and arithmetic."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from moekit.tasks.score.localisation import count_maps
from moekit.tasks.score.masks import RegionMask
from moekit_industrial.metrics import aupro, aupro_5, pixel_auroc


def draw(seed, *, images=12, side=20, strength=0.25):
    """Maps that see something of their masks, at the resolution of the masks; a third is good."""
    generator = np.random.default_rng(seed)
    maps, masks = [], []
    for number in range(images):
        mask = np.zeros((side, side), dtype=bool)
        for row, column, size in generator.integers(1, 7, (3 if number % 3 else 0, 3)):
            mask[2 * row : 2 * row + size, 2 * column : 2 * column + size] = True
        noise = generator.random((side, side)) * 0.7
        maps.append((strength * mask + noise).astype(np.float32))
        masks.append(mask)
    return np.stack(maps), np.stack(masks)


def counts_of(maps, masks):
    return count_maps(list(maps), [RegionMask.of(mask) for mask in masks])


def peer_aupro(maps, masks, limit):
    metric = pytest.importorskip("anomalib.metrics.aupro")._AUPRO(fpr_limit=limit)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
    return float(metric.compute())


@pytest.mark.parametrize("seed", range(4))
def test_pixel_auroc_is_that_of_scikit_learn(seed):
    maps, masks = draw(seed)
    expected = roc_auc_score(masks.reshape(-1), maps.reshape(-1))
    assert pixel_auroc(counts_of(maps, masks)) == pytest.approx(expected, abs=1e-4)


def test_with_few_values_pixel_auroc_is_that_of_scikit_learn_to_the_last_digits():
    maps, masks = draw(0)
    maps = maps.round(2)
    expected = roc_auc_score(masks.reshape(-1), maps.reshape(-1))
    assert pixel_auroc(counts_of(maps, masks)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("metric", "limit"), [(aupro, 0.3), (aupro_5, 0.05)])
def test_aupro_is_that_of_anomalib(seed, metric, limit):
    maps, masks = draw(seed)
    found = metric(counts_of(maps, masks))
    assert found == pytest.approx(peer_aupro(maps, masks, limit), abs=1e-3)
    rounded = maps.round(2)
    expected = peer_aupro(rounded, masks, limit)
    assert metric(counts_of(rounded, masks)) == pytest.approx(expected, abs=1e-5)


def test_maps_that_are_smaller_than_masks_count_as_if_they_had_been_enlarged():
    maps, masks = draw(5, side=24)
    small = np.clip(maps[:, ::4, ::4], 0, 1)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(small)[:, None], size=(24, 24), mode="bilinear"
    )[:, 0].numpy()
    counts = counts_of(small, masks)
    assert aupro(counts) == pytest.approx(peer_aupro(large, masks, 0.3), abs=1e-3)
    expected = roc_auc_score(masks.reshape(-1), large.reshape(-1))
    assert pixel_auroc(counts) == pytest.approx(expected, abs=1e-4)


def test_a_small_region_counts_as_much_as_a_large_one():
    mask = np.zeros((1, 24), dtype=bool)
    mask[0, 0], mask[0, 2:14] = True, True
    found_small = np.where(np.arange(24) == 0, 0.9, 0.1)[None]
    found_large = np.where((np.arange(24) > 1) & (np.arange(24) < 14), 0.9, 0.1)[None]
    for evidence in (found_small, found_large):
        # Half of the regions is found before the first of 11 negative pixels, all at the last.
        assert aupro(counts_of([evidence], [mask])) == pytest.approx(0.5 + 0.5 * 0.15)
    small, large = (pixel_auroc(counts_of([one], [mask])) for one in (found_small, found_large))
    assert large > small


def test_without_defects_or_without_good_pixels_there_is_no_figure():
    maps = [np.eye(4)]
    nothing = counts_of(maps, [np.zeros((4, 4), dtype=bool)])
    everything = counts_of(maps, [np.ones((4, 4), dtype=bool)])
    for metric in (pixel_auroc, aupro, aupro_5):
        assert math.isnan(metric(nothing))
        assert math.isnan(metric(everything))


def test_the_stricter_limit_asks_for_more():
    maps, masks = draw(1, strength=0.2)
    counts = counts_of(maps, masks)
    assert 0 < aupro_5(counts) < aupro(counts) < pixel_auroc(counts) < 1


def test_a_monotone_change_of_the_scale_changes_little():
    maps, masks = draw(2)
    raw = maps / (1 - np.minimum(maps, 0.999))
    one, other = (counts_of(scaled / (1 + scaled), masks) for scaled in (raw, 9 * raw))
    assert aupro(one) == pytest.approx(aupro(other), abs=2e-3)
    assert pixel_auroc(one) == pytest.approx(pixel_auroc(other), abs=2e-4)


def test_on_real_masks_of_screws_aupro_is_that_of_anomalib(shared):
    generator = np.random.default_rng(0)
    files = sorted((shared / "data" / "mvtec_screw" / "ground_truth").rglob("*.png"))[::20]
    masks = np.stack([np.asarray(Image.open(file).convert("L")) > 0 for file in files])
    noise = generator.beta(2, 8, (len(files), 32, 32))
    cells = masks.reshape(len(files), 32, masks.shape[1] // 32, 32, -1).any(axis=(2, 4))
    maps = np.clip(noise + 0.3 * cells, 0, 1).astype(np.float32)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=masks.shape[1:], mode="bilinear"
    )[:, 0].numpy()
    counts = counts_of(maps, masks)
    assert len(counts.image_R) >= len(files)
    assert aupro(counts) == pytest.approx(peer_aupro(large, masks, 0.3), abs=1e-3)
    assert aupro_5(counts) == pytest.approx(peer_aupro(large, masks, 0.05), abs=1e-3)
