"""Fusion of blocks: which places see which, equal sizes, and a graph that says the same."""

import pytest
import torch
from torch import nn

from moekit import Grid
from moekit.tasks.parts.fusion import AttentionFusion, ConcatenationFusion, _smoothed, patch_map

WIDTH, BLOCKS, ROWS, COLUMNS = 24, 3, 7, 5


@pytest.fixture
def maps(generator):
    return [torch.randn(2, WIDTH, ROWS, COLUMNS, generator=generator) for _ in range(BLOCKS)]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def moved(fusion, maps, block, row, column):
    """(h, w) bool: the places whose features change if one place of one block does."""
    with torch.no_grad():
        before = fusion(maps)
        changed = [one.clone() for one in maps]
        changed[block][:, :, row, column] += torch.arange(WIDTH).float()
        return ((fusion(changed) - before).abs().amax(dim=(0, 1)) > 1e-6).int()


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_patches_lie_row_by_row_behind_the_prefix(prefix):
    grid = Grid(2, 3)
    x_BND = torch.arange(2 * (prefix + 6) * 4).reshape(2, prefix + 6, 4)
    found = patch_map(x_BND, grid)
    assert found.shape == (2, 4, 2, 3)
    assert torch.equal(found[1, :, 1, 0], x_BND[1, prefix + 3].float())


def test_of_a_stack_the_middle_frame_is_taken():
    x_BND = torch.arange(6 * 3 * 2).reshape(6, 3, 2)
    found = patch_map(x_BND, Grid(1, 2, 3))
    assert found.shape == (2, 2, 1, 2)
    assert torch.equal(found[1, :, 0, 1], x_BND[4, 2].float())


@pytest.mark.parametrize("kind", [AttentionFusion, ConcatenationFusion])
def test_the_result_keeps_the_grid(kind, maps):
    assert kind(WIDTH, BLOCKS, out=16)(maps).shape == (2, 16, ROWS, COLUMNS)


@pytest.mark.parametrize(("scale", "reach"), [(1, 0), (2, 1), (3, 2)])
def test_a_scale_sees_a_window_of_every_block(scale, reach, maps, randomise):
    fusion = AttentionFusion(WIDTH, BLOCKS, out=16, scales=(scale,)).eval()
    randomise(fusion, by=0.3)
    wanted = torch.zeros(ROWS, COLUMNS, dtype=torch.int)
    wanted[3 - reach : 4 + reach, max(2 - reach, 0) : 3 + reach] = 1
    for block in range(BLOCKS):
        assert torch.equal(moved(fusion, maps, block, 3, 2), wanted)


def test_smoothing_is_the_mean_of_what_lies_inside(generator):
    x_BLhwF = torch.randn(2, 3, ROWS, COLUMNS, 4, generator=generator)
    wanted = nn.functional.avg_pool2d(
        x_BLhwF.flatten(0, 1).permute(0, 3, 1, 2), 3, stride=1, padding=1, count_include_pad=False
    )
    found = _smoothed(x_BLhwF, 2).flatten(0, 1).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, wanted)


def test_nothing_outside_the_picture_is_seen(randomise):
    """If all places are alike, those at the border answer as those in the middle."""
    fusion = AttentionFusion(WIDTH, BLOCKS, out=16).eval()
    randomise(fusion, by=0.3)
    same = [torch.randn(1, WIDTH, 1, 1).expand(1, WIDTH, ROWS, COLUMNS) for _ in range(BLOCKS)]
    with torch.no_grad():
        found = fusion(same)
    assert torch.allclose(found, found[:, :, 3:4, 2:3].expand_as(found), atol=1e-5)


def test_attention_is_a_mean_of_values_with_weights_that_sum_to_one(maps):
    """With equal values the keys do not matter."""
    fusion = AttentionFusion(WIDTH, BLOCKS, out=16).eval()
    with torch.no_grad():
        fusion.value.weight.zero_()
        fusion.value.bias.copy_(torch.arange(16.0))
        fusion.join.weight.copy_(torch.eye(16))
        fusion.join.bias.zero_()
        narrow = [
            n(p(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
            for p, n, x in zip(fusion.norms, fusion.narrow, maps, strict=True)
        ]
        added = fusion(maps) - torch.stack(narrow).mean(0)
    assert torch.allclose(added, torch.arange(16.0)[:, None, None].expand_as(added), atol=1e-4)


@pytest.mark.parametrize("width", [192, 384, 768])
@pytest.mark.parametrize("blocks", [2, 4])
def test_concatenation_has_as_many_parameters(width, blocks):
    attention = count(AttentionFusion(width, blocks, out=160))
    assert count(ConcatenationFusion(width, blocks, out=160)) == pytest.approx(attention, rel=0.01)


def test_counting_the_other_kind_draws_no_random_number():
    torch.manual_seed(0)
    fusion = ConcatenationFusion(WIDTH, BLOCKS, out=16)
    torch.manual_seed(0)
    first = torch.nn.Conv2d(*fusion.mix[0].weight.shape[1::-1], 1)
    assert torch.equal(fusion.mix[0].weight, first.weight)


@pytest.mark.parametrize("kind", [AttentionFusion, ConcatenationFusion])
def test_every_parameter_learns(kind, maps, randomise):
    fusion = kind(WIDTH, BLOCKS, out=16)
    randomise(fusion, by=0.1)
    fusion(maps).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fusion.parameters())


def test_an_image_does_not_depend_on_its_neighbours(maps, randomise):
    fusion = AttentionFusion(WIDTH, BLOCKS, out=16).eval()
    randomise(fusion, by=0.3)
    with torch.no_grad():
        alone = torch.cat([fusion([one[row : row + 1] for one in maps]) for row in range(2)])
        assert torch.allclose(fusion(maps), alone, atol=1e-5)


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="no multiple of 3"):
        AttentionFusion(WIDTH, BLOCKS, out=16, heads=3)
