"""The scene expert: what kind of picture it is decides how its tokens are read.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), D width, R width
of the bottleneck, M scenes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid


class SceneExpert(nn.Module):
    """A bottleneck whose channels are weighted by the scene, which the whole image says.

    A small gate sees the class token and the mean of the patches, and mixes a few learned scenes;
    each scales and shifts the bottleneck (FiLM, Perez et al. 2018, arXiv:1709.07871). So all tokens
    of an image go one way: routing by task or image, as in Task-level MoE (Kudugunta et al. 2021,
    arXiv:2110.03742). The slot's own routing of tokens stays. The class token carries the scene on
    to the queries of the head. The output is zero before training.

    Args:
        width: D.
        bottleneck: R.
        scenes: M.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 48, scenes: int = 4) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.gate = nn.Linear(2 * width, scenes)
        self.scale_MR = nn.Parameter(torch.randn(scenes, bottleneck) * 0.1)
        self.shift_MR = nn.Parameter(torch.randn(scenes, bottleneck) * 0.1)
        self.near = nn.Conv2d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        prefix = x_BND.shape[1] - grid.patches
        seen = torch.cat([x_BND[:, :prefix].mean(1), x_BND[:, prefix:].mean(1)], dim=1)
        scene_BM = self.gate(seen).float().softmax(1).to(x_BND.dtype)
        scale_B1R = (scene_BM @ self.scale_MR.to(x_BND.dtype))[:, None]
        shift_B1R = (scene_BM @ self.shift_MR.to(x_BND.dtype))[:, None]
        hidden_BNR = self.down(x_BND)
        plane_BRhw = grid.plane(hidden_BNR[:, prefix:])
        around_BPR = (plane_BRhw + self.near(plane_BRhw)).flatten(2).transpose(1, 2)
        hidden_BNR = torch.cat([hidden_BNR[:, :prefix], around_BPR], dim=1)
        output: Tensor = self.up(nn.functional.gelu(hidden_BNR * (1 + scale_B1R) + shift_B1R))
        return output
