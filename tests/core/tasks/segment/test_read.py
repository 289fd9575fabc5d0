"""Masks of a peer: how they are found, read and refused."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from moekit.data.mask_table import IGNORED, MaskTable
from moekit.tasks.segment.metrics import miou
from moekit.tasks.segment.read import read_masks
from moekit.testing import refused


@pytest.fixture
def samples(example):
    return [s for s in example.samples if s.split == "test"]


@pytest.fixture
def folder(tmp_path, samples):
    """Masks of a peer that is right except in one column."""
    (tmp_path / "peer").mkdir()
    for sample in samples:
        save(tmp_path / "peer" / f"{sample.id[7:9]}.png", np.roll(plane(sample), 1, axis=1))
    return tmp_path / "peer"


def plane(sample):
    with Image.open(sample.mask) as image:
        return np.asarray(image).copy()


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_masks_are_found_by_the_last_part_of_an_id(folder, samples, context):
    tally = read_masks(folder, samples, context)
    assert tally.ids == tuple(sample.id for sample in samples)
    assert 0.8 < miou(tally.confusion_NCC) < 1
    assert tally.groups is not None


def test_masks_are_found_by_the_whole_id_too(folder, samples, context):
    before = read_masks(folder, samples, context)
    (folder / "images").mkdir()
    for path in list(folder.glob("*.png")):
        path.rename(folder / "images" / path.name)
    after = read_masks(folder, samples, context)
    assert np.array_equal(before.confusion_NCC, after.confusion_NCC)


def test_numbers_may_be_those_of_the_datas_own_masks(folder, samples, context):
    before = read_masks(folder, samples, context)
    table = MaskTable(values={0: 0, 100: 1, 200: 2})
    wide = []
    for sample in samples:
        mask = sample.mask.with_stem(f"{sample.mask.stem}-wide")
        save(mask, plane(sample) * np.uint8(100))
        wide.append(dataclasses.replace(sample, mask=mask, mask_table=table))
    assert np.array_equal(read_masks(folder, wide, context).confusion_NCC, before.confusion_NCC)
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            values = np.asarray(image) * np.uint8(100)
        save(path, values)
    assert np.array_equal(read_masks(folder, wide, context).confusion_NCC, before.confusion_NCC)


def test_the_folder_is_read_in_one_way(folder, samples, context):
    """Data with numbers from 1: a peer that writes class numbers is not read by the data's."""
    table = MaskTable(values={1: 0, 2: 1, 3: 2})
    shifted = []
    for sample in samples:
        mask = sample.mask.with_stem(f"{sample.mask.stem}-one")
        save(mask, plane(sample) + np.uint8(1))
        shifted.append(dataclasses.replace(sample, mask=mask, mask_table=table))
    save(folder / f"{samples[0].id[7:9]}.png", np.ones((40, 56), np.uint8))
    tally = read_masks(folder, shifted, context)
    assert np.array_equal(tally.predicted_NC[0], [0, 40 * 56, 0])


def test_colours_are_those_of_the_data(folder, samples, context):
    before = read_masks(folder, samples, context)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 9, 0]], np.uint8)
    table = MaskTable(
        values={0: 0, 1: 1, 2: 2}, colours={tuple(c.tolist()): n for n, c in enumerate(colours)}
    )
    coloured = [dataclasses.replace(sample, mask_table=table) for sample in samples]
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            values = np.asarray(image)
        save(path, colours[values])
    after = read_masks(folder, coloured, context)
    assert np.array_equal(before.confusion_NCC, after.confusion_NCC)


def test_missing_masks_are_counted_and_named(folder, samples, context):
    (folder / "19.png").unlink()
    (folder / "20.png").unlink()
    with refused("data/missing-answer", match=r"2 of 6.*images/19\.png, images/20"):
        read_masks(folder, samples, context)


def test_unknown_masks_are_named(folder, samples, context):
    save(folder / "99.png", np.zeros((40, 56), np.uint8))
    with refused("data/unknown-id", match=r"99\.png"):
        read_masks(folder, samples, context)


def test_two_masks_of_one_sample_are_refused(folder, samples, context):
    save(folder / "19.bmp", np.zeros((40, 56), np.uint8))
    with refused("data/duplicate-id", match=r"images/19\.png"):
        read_masks(folder, samples, context)


def test_another_size_and_unknown_numbers_are_refused_by_name(folder, samples, context):
    save(folder / "19.png", np.zeros((20, 28), np.uint8))
    with refused("data/mask-size", match=r"28 x 20.*images/19\.png 56 x 40"):
        read_masks(folder, samples, context)
    save(folder / "19.png", np.full((40, 56), 7, np.uint8))
    with refused("image/unknown-class", match=r"7 \(2240 ") as caught:
        read_masks(folder, samples, context)
    assert caught.value.whose.endswith("19.png")


def test_each_pixel_that_counts_needs_a_class(folder, samples, context):
    table = MaskTable(values={0: 0, 1: 1, 2: 2, 9: IGNORED})
    truth = plane(samples[0])
    truth[0] = 9
    save(samples[0].mask, truth)
    voids = [dataclasses.replace(sample, mask_table=table) for sample in samples]
    answer = plane(samples[0])
    path = folder / f"{samples[0].id[7:9]}.png"
    save(path, answer)
    tally = read_masks(folder, voids, context)
    assert tally.ignored_N[0] == 56
    answer[5, :3] = 9
    save(path, answer)
    with refused("data/unclassed-pixels", match="3"):
        read_masks(folder, voids, context)


def test_a_folder_that_is_not_there_is_refused(tmp_path, samples, context):
    with refused("data/not-found"):
        read_masks(tmp_path / "nowhere", samples, context)


def test_equal_names_in_two_folders_need_the_whole_id(folder, samples, context):
    moved = [dataclasses.replace(samples[0], id=f"{part}/x.png") for part in ("a", "b")]
    for part in ("a", "b"):
        save(folder.parent / "two" / part / "x.png", plane(samples[0]))
    assert len(read_masks(folder.parent / "two", moved, context)) == 2
    (folder.parent / "two/b/x.png").rename(folder.parent / "two/x.png")
    with refused("data/missing-answer", match=r"b/x\.png"):
        read_masks(folder.parent / "two", moved, context)
