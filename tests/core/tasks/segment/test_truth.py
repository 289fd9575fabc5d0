"""Truth placed in the input, turned as views are, and kept once it was read."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.data.geometry import Frame
from moekit.data.mask_table import IGNORED, MaskTable
from moekit.data.samples import Sample
from moekit.data.views import view
from moekit.tasks.segment import truth
from moekit.tasks.segment.learn import LEARN, TARGET, targets
from moekit.tasks.segment.truth import place, placed_truth, read_truth
from moekit.testing import refused

FRAMES = [
    Frame(height=32, width=32),
    Frame(height=32, width=32, fit="letterbox"),
    Frame(height=64, width=32, fit="letterbox"),
    Frame(height=96, width=128, fit="letterbox"),
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("size", [(40, 56), (56, 40), (31, 7)])
def test_at_a_stride_of_one_it_is_what_a_frame_places(frame, size):
    plane = np.random.default_rng(0).integers(0, 5, size).astype(np.int16)
    assert np.array_equal(place(plane, frame, stride=1), frame.place(plane, border=IGNORED))


@pytest.mark.parametrize("frame", FRAMES)
def test_at_a_stride_of_two_it_is_read_between_four_pixels(frame):
    """A plane of rows' numbers: each target row shows the row at its centre."""
    size = (frame.height * 4, frame.width * 4)
    rows = np.repeat(np.arange(size[0], dtype=np.int16)[:, None], size[1], axis=1)
    found = place(rows, frame)
    assert found.shape == (frame.height // 2, frame.width // 2)
    assert np.array_equal(found[:, 0], np.arange(frame.height // 2) * 8 + 4)


def test_borders_are_ignored():
    found = place(np.ones((10, 40), np.int16), Frame(height=40, width=40, fit="letterbox"))
    assert (
        np.array_equal((found == 1).all(axis=1), [7 < row < 13 for row in range(20)])
        or (found == 1).all(axis=1).sum() == 5
    )
    assert set(np.unique(found)) == {IGNORED, 1}


@pytest.mark.parametrize("number", range(8))
def test_targets_turn_as_pictures_do(example, number):
    frame = Frame(height=48, width=48, fit="letterbox")
    samples = example.samples[:3]
    plain = targets(samples, np.zeros(3, dtype=np.int64), frame)[TARGET]
    turned = targets(samples, np.full(3, number), frame)[TARGET]
    assert turned.dtype == torch.int64
    assert torch.equal(turned, view(plain, number))


def test_each_sample_has_its_own_view(example):
    frame, samples = Frame(height=48, width=48), example.samples[:2]
    found = targets(samples, np.array([3, 6]), frame)[TARGET]
    plain = targets(samples, np.array([0, 0]), frame)[TARGET]
    assert torch.equal(found[0], view(plain[0], 3))
    assert torch.equal(found[1], view(plain[1], 6))


def test_a_rectangle_takes_flips_and_no_quarter_turns(example):
    frame, samples = Frame(height=32, width=64), example.samples[:1]
    assert targets(samples, np.array([3]), frame)[TARGET].shape == (1, 16, 32)
    with refused("usage/out-of-range"):
        targets(samples, np.array([4]), frame)


def test_a_mask_is_decoded_once_until_it_changes(example, monkeypatch):
    read = []
    plain = truth.read_classes

    def counted(path, *given, **named):
        read.append(path)
        return plain(path, *given, **named)

    monkeypatch.setattr(truth, "read_classes", counted)
    frame, sample = Frame(height=32, width=64), example.samples[0]
    first = placed_truth(sample, frame)
    assert np.array_equal(placed_truth(sample, frame), first)
    assert len(read) == 1
    assert not np.array_equal(placed_truth(sample, Frame(height=64, width=64)), first)
    other = dataclasses.replace(sample, mask_table=MaskTable(values={0: 2, 1: 1, 2: 0}))
    assert not np.array_equal(placed_truth(other, frame), first)
    Image.fromarray(np.zeros((40, 56), np.uint8)).save(sample.mask)
    assert not placed_truth(sample, frame).any()
    assert len(read) == 4


def test_memory_for_masks_is_bounded():
    cache = truth._PlaneCache(1000)
    for number in range(50):
        cache(number, lambda: np.zeros(100, np.uint8))
    assert cache.held <= 1000
    made = []
    cache(49, lambda: made.append(1))
    assert not made


def test_a_negative_sample_without_a_mask_is_class_zero(example):
    sample = Sample(id="good", path=example.samples[0].path, label=0)
    assert not read_truth(sample, (40, 56), 2).any()
    assert placed_truth(sample, Frame(height=32, width=32)).shape == (16, 16)
    with refused("data/missing-mask"):
        read_truth(dataclasses.replace(sample, label=1), (40, 56), 2)


def test_data_without_masks_are_refused_with_their_number(example):
    LEARN.check(example)
    bare = [dataclasses.replace(s, mask=None) if s.id[-5] in "13" else s for s in example.samples]
    with refused("data/missing-mask", match=r"12.*'train'.*images/01\.png"):
        LEARN.check(example.with_samples(bare))
    with refused("data/class-count", match="1"):
        LEARN.check(dataclasses.replace(example, classes=("one",)))
    with refused("data/unknown-class"):
        LEARN.check(dataclasses.replace(example, classes=("one", "two")))
    good = [dataclasses.replace(s, mask=None, label=0, labels=None) for s in example.samples]
    with refused("data/missing-mask", match="'train'"):
        LEARN.check(example.with_samples(good))


def test_a_mask_that_leads_beyond_the_classes_is_refused(example):
    with refused("data/unknown-class"):
        read_truth(example.samples[0], (40, 56), 2)


def test_real_masks_keep_their_shares(shared):
    """Placed in an input, the classes of a street keep their shares of the picture."""
    mask = shared / "data/camvid/masks/0016E5_00390.png"
    table = MaskTable(values={**{number: number for number in range(11)}, 11: IGNORED})
    image = shared / "data/camvid/images/0016E5_00390.jpg"
    sample = Sample(id="s", path=image, label=0, labels=(), mask=mask, mask_table=table)
    whole = read_truth(sample, (360, 480), 11)
    small = placed_truth(sample, Frame(height=224, width=224, fit="letterbox"))
    inside = small[28:-14]
    assert (small[:13] == IGNORED).all()
    for number in range(11):
        share = (whole == number).mean()
        assert (small == number).sum() / (112 * 84) == pytest.approx(share, abs=0.01)
    assert inside.max() <= 10


def test_a_class_is_not_taken_for_the_background_since_it_comes_first(example):
    samples = tuple(
        dataclasses.replace(sample, mask=None, labels=None, label=number % 3)
        for number, sample in enumerate(example.samples)
    )
    folders = dataclasses.replace(
        example, samples=samples, classes=("c0", "c1", "c2"), has_negative=False
    )
    with refused("data/missing-mask", match="no image of the split 'train' has a mask"):
        LEARN.check(folders)
    some = [
        dataclasses.replace(sample, mask=old.mask) if sample.label else sample
        for sample, old in zip(samples, example.samples, strict=True)
    ]
    train = [sample for sample in some if sample.split == "train"]
    lacking = sum(sample.mask is None for sample in train)
    with refused("data/missing-mask", match=f"{lacking} of {len(train)} images"):
        LEARN.check(folders.with_samples(some))
    LEARN.check(dataclasses.replace(folders.with_samples(some), has_negative=True))
