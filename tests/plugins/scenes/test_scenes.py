"""The kit for scenes: its expert, its conformance, and that it learns."""

import torch

from moekit import Grid
from moekit.testing import run_checks
from moekit_scenes.context import ContextExpert


def test_the_plugin_conforms():
    report = run_checks("moekit-scenes")
    assert not report.failures
    assert report.ran == report.expected > 20


def test_the_expert_says_nothing_before_training():
    expert = ContextExpert(16)
    tokens = torch.randn(2, 1 + 12, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(expert(tokens, Grid(3, 4)), torch.zeros_like(tokens))


def test_a_patch_is_told_from_its_surroundings_near_and_far():
    expert = ContextExpert(16)
    torch.nn.init.normal_(expert.up.weight, generator=torch.Generator().manual_seed(0))
    grid = Grid(9, 9)
    tokens = torch.randn(1, 1 + grid.patches, 16, generator=torch.Generator().manual_seed(0))
    moved = tokens.clone()
    moved[0, 1 + 4 * 9 + 4] += 1  # the patch in the middle
    with torch.no_grad():
        change = (expert(moved, grid) - expert(tokens, grid))[0].abs().sum(1)
    assert change[0] == 0, "the class token has no surroundings"
    plane = change[1:].reshape(9, 9)
    assert plane[4, 5] > 0, "next to it"
    assert plane[4, 7] > 0, "three patches away"
    assert plane[4, 0] > 0, "in its row"
    assert plane[0, 0] == 0, "neither near nor in its row or column"
