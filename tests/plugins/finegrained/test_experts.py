"""The experts see what they are for."""

import pytest
import torch

from moekit import Grid
from moekit_finegrained.shape import ShapeExpert, places
from moekit_finegrained.surface import SurfaceExpert, statistics


def awake(build):
    torch.manual_seed(0)
    expert = build(16)
    torch.nn.init.normal_(expert.up.weight)
    return expert.eval()


@pytest.fixture
def shape():
    return awake(ShapeExpert)


@pytest.fixture
def surface():
    return awake(SurfaceExpert)


@pytest.mark.parametrize("build", [ShapeExpert, SurfaceExpert])
def test_an_expert_starts_with_nothing(build):
    assert not build(16)(torch.randn(2, 17, 16), Grid(4, 4)).any()


def even(grid):
    return torch.full((1, grid.patches), 1 / grid.patches)


def test_even_weights_have_their_centre_in_the_middle():
    found = places(even(Grid(5, 5)), Grid(5, 5))[0]
    torch.testing.assert_close(found[12, :2], torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[:, :2].sum(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 3], torch.zeros(25), atol=1e-4, rtol=0)


def blob(grid, row, column, size):
    weight = torch.zeros(grid)
    weight[row : row + size, column : column + size] = 1 / size**2
    return weight.flatten()[None]


def test_places_move_along_with_the_object():
    grid = Grid(12, 12)
    first = places(blob(grid, 2, 2, 3), grid)[0].unflatten(0, grid)[1:6, 1:6]
    moved = places(blob(grid, 6, 5, 3), grid)[0].unflatten(0, grid)[5:10, 4:9]
    torch.testing.assert_close(first, moved, atol=1e-5, rtol=1e-5)


def test_the_corner_of_a_larger_object_lies_as_far_from_its_centre_in_its_spread():
    grid = Grid(40, 40)
    small = places(blob(grid, 10, 10, 8), grid)[0].unflatten(0, grid)[10, 10, :2]
    large = places(blob(grid, 10, 10, 24), grid)[0].unflatten(0, grid)[10, 10, :2]
    torch.testing.assert_close(small, large, atol=0.25, rtol=0)
    assert small[0] < -1


def test_places_stay_finite_if_one_patch_is_the_object():
    grid = Grid(1, 1)
    assert places(torch.ones(1, 1), grid).isfinite().all()
    one = torch.zeros(1, 49)
    one[0, 3] = 1
    assert places(one, Grid(7, 7)).isfinite().all()


def test_a_patch_is_seen_seven_patches_away_and_by_all_through_the_centre(shape):
    grid = Grid(17, 17)
    torch.nn.init.zeros_(shape.belongs.weight)
    torch.nn.init.zeros_(shape.up.weight[:, 32:])  # leaves the outline
    x_BND = torch.zeros(1, 1 + grid.patches, 16)
    before = shape(x_BND, grid)
    x_BND[0, 1 + 8 * 17 + 8] = 3
    moved = (shape(x_BND, grid) - before)[0, 1:].abs().sum(1).unflatten(0, grid) > 1e-5
    assert moved[8, 4]
    assert moved[8, 12]
    assert not moved[8, 3]
    assert not moved[0].any()


def test_the_class_token_gets_the_objects_mean(shape):
    grid = Grid(4, 4)
    x_BND = torch.randn(1, 17, 16)
    before = shape(x_BND, grid)[0, 0]
    x_BND[0, 9] += 1
    assert not torch.allclose(shape(x_BND, grid)[0, 0], before)


def stripes(period, side=16, turned=False):
    wave = ((torch.arange(side) // (period // 2)) % 2).float()
    plane = wave[:, None].expand(side, side)
    return (plane.T if turned else plane)[None, None].contiguous()


def middle(plane):
    strength, coherence, grain = statistics(plane)[0, :, 5:11, 5:11].flatten(1).mean(1)
    return strength.item(), coherence.item(), grain.item()


def test_stripes_are_directed_whichever_way_and_noise_is_not():
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert middle(stripes(4))[1] > 0.95
    assert middle(stripes(4, turned=True))[1] > 0.95
    assert middle(noise)[1] < 0.7


def test_coarse_stripes_have_less_fine_than_coarse_strength():
    assert middle(stripes(8))[2] < middle(stripes(4))[2]


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_the_contrast_of_the_picture_changes_little(factor):
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(statistics(noise * factor), statistics(noise), atol=0.02, rtol=0.02)


def test_an_even_surface_has_no_strength_and_finite_statistics():
    found = statistics(torch.ones(1, 2, 6, 6))
    assert found.isfinite().all()
    assert not found[:, :2].any()


def test_a_half_turn_of_the_picture_turns_the_output(surface):
    grid = Grid(6, 6)
    x_BND = torch.randn(1, 37, 16)
    turned = torch.cat([x_BND[:, :1], x_BND[:, 1:].flip(1)], dim=1)
    output, other = surface(x_BND, grid), surface(turned, grid)
    torch.testing.assert_close(output[:, 1:].flip(1), other[:, 1:])
    torch.testing.assert_close(output[:, 0], other[:, 0])
