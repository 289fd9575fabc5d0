"""Windows of large pictures, and what becomes of their logits."""

import itertools

import numpy as np
import pytest
import torch

from moekit.data.geometry import Box
from moekit.tasks.segment.tiles import Mosaic, window_weight, windows
from moekit.testing import refused


@pytest.mark.parametrize("size", [(100, 100), (1080, 1920), (70, 500), (224, 224), (225, 223)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_windows_cover_the_picture_and_overlap(size, overlap):
    found = windows(size, (224, 224), overlap=overlap)
    seen = np.zeros(size, int)
    for top, left, height, width in found:
        assert (height, width) == (min(224, size[0]), min(224, size[1]))
        seen[top : top + height, left : left + width] += 1
    assert seen.min() >= 1
    assert seen.shape == size
    for axis in (0, 1):
        starts = sorted({box[axis] for box in found})
        assert all(b - a <= 224 * (1 - overlap) + 1 for a, b in itertools.pairwise(starts))


def test_windows_that_fit_are_not_doubled():
    assert len(windows((448, 672), (224, 224), overlap=0.0)) == 6
    assert windows((10, 10), (224, 224)) == (Box(0, 0, 10, 10),)
    with pytest.raises(ValueError, match="overlap"):
        windows((10, 10), (5, 5), overlap=1.0)


def test_the_weight_falls_to_the_border():
    weight = window_weight(9, 6)
    assert weight.dtype == np.float32
    assert weight.min() > 0
    assert weight[4, 2] == weight.max()
    assert (np.diff(weight[:5], axis=0) > 0).all()
    assert np.allclose(weight, weight[::-1, ::-1])


def put_together(picture, window, stride, overlap=0.25):
    """The class map of a picture (C, H, W) of logits that is seen through windows."""
    mosaic = Mosaic(picture.shape[1:], len(picture), stride=stride)
    for box in windows(picture.shape[1:], window, overlap=overlap):
        mosaic.add(box, picture[:, box.top : box.top + box.height, box.left : box.left + box.width])
    return mosaic


def test_equal_logits_come_back_exactly():
    truth = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (50, 70)))
    picture = torch.nn.functional.one_hot(truth, 3).movedim(2, 0).float()
    mosaic = put_together(picture, (20, 30), stride=1)
    assert torch.allclose(mosaic.logits(), picture, atol=1e-5)
    assert np.array_equal(mosaic.class_map(), truth.numpy())


def test_at_a_stride_regions_keep_their_places():
    truth = np.zeros((101, 203), np.int64)
    truth[40:80, 50:120] = 1
    picture = torch.nn.functional.one_hot(torch.from_numpy(truth), 2).movedim(2, 0).float()
    found = put_together(picture, (64, 64), stride=4).class_map()
    assert found.shape == truth.shape
    assert (found == truth).mean() > 0.97


def test_the_middle_of_a_window_outweighs_the_border_of_another():
    mosaic = Mosaic((10, 30), 1, stride=1)
    mosaic.add(Box(0, 0, 10, 20), torch.zeros(1, 10, 20))
    mosaic.add(Box(0, 10, 10, 20), torch.ones(1, 10, 20))
    row = mosaic.logits()[0, 5]
    assert row[10] < 0.1
    assert row[19] > 0.9
    assert (row.diff() >= -1e-6).all()


def test_logits_of_a_window_may_have_any_resolution():
    mosaic = Mosaic((32, 32), 2, stride=4)
    mosaic.add(Box(0, 0, 32, 32), torch.ones(2, 3, 5))
    assert torch.allclose(mosaic.logits(), torch.ones(2, 8, 8))


def test_gaps_and_pictures_beyond_memory_are_refused():
    mosaic = Mosaic((32, 32), 2)
    mosaic.add(Box(0, 0, 16, 32), torch.ones(2, 4, 8))
    with pytest.raises(ValueError, match="cover"):
        mosaic.logits()
    with refused("data/too-large"):
        Mosaic((40_000, 40_000), 20, stride=1)
