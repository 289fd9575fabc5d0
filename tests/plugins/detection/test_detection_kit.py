"""The plugin conforms, and its expert sees the whole image."""

import torch

from moekit import Grid
from moekit.testing import run_checks
from moekit_detection.scene import SceneExpert


def test_the_plugin_conforms():
    report = run_checks("moekit-detection")
    assert not report.failures
    assert report.ran == report.expected > 60


def test_the_whole_image_decides_how_each_token_is_read():
    torch.manual_seed(0)
    expert = SceneExpert(16)
    torch.nn.init.normal_(expert.up.weight)
    grid = Grid(5, 5)
    tokens = torch.randn(1, 1 + grid.patches, 16)
    moved = tokens.clone()
    moved[0, -1] += 3  # the patch in the last corner
    with torch.no_grad():
        change = (expert(moved, grid) - expert(tokens, grid))[0].abs().sum(1)
    assert (change > 0).all(), "the class token and the patch in the first corner too"
    assert change[-1] > change[1]
