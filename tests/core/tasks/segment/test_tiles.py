"""What becomes of the logits of windows."""

import numpy as np
import pytest
import torch

from moekit.contract.answers import TaskContext
from moekit.data.geometry import Box, Frame
from moekit.data.windows import windows
from moekit.tasks.segment import tiles
from moekit.tasks.segment.enlarge import class_map
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.tiles import Mosaic, weights


@pytest.fixture
def mosaic():
    """Makes one for pictures of a size; windows are squashed into an input of another."""

    def make(size, classes=2, frame=None):
        names = tuple(f"class {number}" for number in range(classes))
        frame = frame or Frame(height=28, width=28)
        return Mosaic(size, TaskContext(classes=names, vocabulary={}, frame=frame))

    return make


def test_the_weight_falls_to_the_border():
    weight = weights(torch.arange(9) + 0.5, 9)
    assert weight.dtype == torch.float32
    assert weight.min() > 0
    assert weight.argmax() == 4
    assert (weight[:5].diff() > 0).all()
    assert torch.allclose(weight, weight.flip(0))


def put_together(made, picture, window, overlap=0.25):
    """The logits of a picture (C, H, W) of logits that is seen through windows."""
    for box in windows(picture.shape[1:], window, overlap=overlap):
        top, left, height, width = box
        part = picture[:, top : top + height, left : left + width]
        made.add([box], {LOGIT: part[None]})
    return made.finish()[LOGIT]


def whole_map(logit_BCRS, size):
    return class_map(logit_BCRS[0], Frame(height=size[0], width=size[1]), size)


def test_equal_logits_come_back_exactly(mosaic, monkeypatch):
    monkeypatch.setattr(tiles, "STRIDE", 1)
    truth = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (50, 70)))
    picture = torch.nn.functional.one_hot(truth, 3).movedim(2, 0).float()
    found = put_together(mosaic((50, 70), 3), picture, (20, 30))
    assert torch.allclose(found[0], picture, atol=1e-5)
    assert np.array_equal(whole_map(found, (50, 70)), truth.numpy())


def test_at_a_stride_regions_keep_their_places(mosaic):
    truth = np.zeros((101, 203), np.int64)
    truth[41:79, 50:121] = 1
    picture = torch.nn.functional.one_hot(torch.from_numpy(truth), 2).movedim(2, 0).float()
    made = mosaic(truth.shape)
    assert made.shape == (26, 51)
    found = whole_map(put_together(made, picture, (64, 64)), truth.shape)
    assert found.shape == truth.shape
    assert (found == truth).mean() > 0.98
    rows, columns = np.nonzero(found)
    assert abs(rows.mean() - 59.5) < 0.6
    assert abs(columns.mean() - 85) < 0.6


def test_a_window_that_does_not_fill_the_input_lies_where_the_letterbox_put_it(mosaic):
    frame = Frame(height=32, width=32, fit="letterbox")
    logit_hw = torch.full((32, 32), -9.0)
    logit_hw[8:24] = torch.linspace(-1, 1, 32)  # a window of 20 x 40 lies in the middle rows
    made = mosaic((20, 40), 1, frame)
    made.add([Box(0, 0, 20, 40)], {LOGIT: logit_hw[None, None]})
    found = made.finish()[LOGIT][0, 0]
    assert found.min() >= -1
    assert torch.allclose(found[0], torch.linspace(-0.9, 0.9, 10), atol=0.05)


def test_the_middle_of_a_window_outweighs_the_border_of_another(mosaic, monkeypatch):
    monkeypatch.setattr(tiles, "STRIDE", 1)
    made = mosaic((10, 30), 1)
    made.add([Box(0, 0, 10, 20)], {LOGIT: torch.zeros(1, 1, 10, 20)})
    made.add([Box(0, 10, 10, 20)], {LOGIT: torch.ones(1, 1, 10, 20)})
    row = made.finish()[LOGIT][0, 0, 5]
    assert row[10] < 0.1
    assert row[19] > 0.9
    assert (row.diff() >= -1e-6).all()


def test_logits_of_a_window_may_have_any_resolution(mosaic):
    made = mosaic((32, 32))
    made.add([Box(0, 0, 32, 32)], {LOGIT: torch.ones(1, 2, 3, 5)})
    assert torch.allclose(made.finish()[LOGIT], torch.ones(1, 2, 8, 8))


def test_gaps_are_refused_and_memory_has_a_limit(mosaic, monkeypatch):
    made = mosaic((32, 32))
    made.add([Box(0, 0, 16, 32)], {LOGIT: torch.ones(1, 2, 4, 8)})
    with pytest.raises(ValueError, match="cover"):
        made.finish()
    monkeypatch.setattr(tiles, "LARGEST", 4 * 3 * 8 * 8)
    assert mosaic((32, 32)).shape == (8, 8)
    assert mosaic((33, 64)).shape == (5, 8)
