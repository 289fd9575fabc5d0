"""The patch grid: a pair that plugins unpack, with the frames of a stack next to it."""

import copy

import pytest
import torch

from moekit import Grid


def test_a_grid_is_the_pair_of_its_rows_and_columns():
    rows, columns = Grid(2, 3, frames=5)
    assert (rows, columns) == (2, 3)
    assert len(Grid(2, 3, frames=5)) == 2
    assert Grid(2, 3, frames=5).patches == 6
    assert torch.zeros(4, 8, 6).unflatten(2, Grid(2, 3, frames=5)).shape == (4, 8, 2, 3)
    assert torch.zeros(7, *Grid(2, 3, frames=5)).shape == (7, 2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plane_has_the_patches_row_by_row(dtype):
    patch_BPR = torch.randn(2, 1 + 6, 4).to(dtype)[:, 1:]
    plane_BRHW = Grid(2, 3).plane(patch_BPR)
    assert plane_BRHW.shape == (2, 4, 2, 3)
    assert torch.equal(plane_BRHW[1, :, 1, 2], patch_BPR[1, 5])


def test_a_bfloat16_plane_is_laid_out_again():
    """From a permuted one oneDNN's gradient of a gapped convolution is at times not finite."""
    assert Grid(2, 3).plane(torch.randn(2, 6, 4).bfloat16()).is_contiguous()


def test_a_grid_has_one_frame_where_none_are_named():
    assert Grid(2, 3).frames == Grid(*Grid(2, 3, frames=5)).frames == 1
    assert Grid(2, 3)._replace(rows=4).frames == 1


def test_grids_are_equal_where_their_frames_are_too():
    assert Grid(2, 3) == (2, 3)
    pair = (2, 3)
    assert pair == Grid(2, 3)
    assert Grid(2, 3, frames=5) == Grid(2, 3, frames=5)
    assert Grid(2, 3, frames=5) != Grid(2, 3)
    assert Grid(2, 3, frames=5) != (2, 3)
    assert pair != Grid(2, 3, frames=5)
    assert Grid(2, 3) != Grid(3, 2)
    assert Grid(2, 3) != "a grid"


def test_equal_grids_have_one_hash():
    assert hash(Grid(2, 3)) == hash((2, 3))
    assert len({Grid(2, 3), (2, 3), Grid(2, 3, frames=1), Grid(2, 3, frames=5)}) == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_keeps_its_frames(copied):
    assert copied(Grid(2, 3, frames=5)).frames == 5


def test_a_grid_shows_its_frames_where_there_are_several():
    assert repr(Grid(2, 3)) == "Grid(rows=2, columns=3)"
    assert repr(Grid(2, 3, frames=5)) == "Grid(rows=2, columns=3, frames=5)"
