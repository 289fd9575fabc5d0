"""The texture expert keeps the contract and sees what it is for."""

import pytest
import torch

from moekit import Grid
from moekit.testing import parametrize_with_checks
from moekit_texture.expert import TextureExpert


@parametrize_with_checks("moekit-texture")
def test_the_plugin_keeps_the_contract(check):
    check.run()


@pytest.fixture
def awake():
    torch.manual_seed(0)
    expert = TextureExpert(16)
    torch.nn.init.normal_(expert.up.weight)
    return expert.eval()


def test_an_even_surface_has_the_same_output_everywhere(awake):
    x_BND = torch.randn(1, 1, 16).expand(1, 26, 16)
    output = awake(x_BND, Grid(5, 5))[:, 1:]
    assert torch.allclose(output, output[:, :1].expand_as(output), atol=1e-5)


def test_one_odd_patch_moves_itself_and_its_neighbours_alone(awake):
    x_BND = torch.zeros(1, 1 + 49, 16)
    even = awake(x_BND, Grid(7, 7))
    x_BND[0, 1 + 3 * 7 + 3] = 1
    moved = (awake(x_BND, Grid(7, 7)) - even)[0, 1:].abs().sum(1).unflatten(0, (7, 7)) > 1e-4
    # Deviations of deviations reach two patches far.
    assert moved[3, 3]
    assert not moved[0].any()
    assert not moved[:, 6].any()


def test_the_class_token_gets_nothing(awake):
    assert not awake(torch.randn(2, 17, 16), Grid(4, 4))[:, 0].any()
