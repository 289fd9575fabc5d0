"""Which patches show the part, and which the background that it lies on.

Dust on the background is no defect, and a nearest neighbour cannot know. If parts lie on a plain
background, the first principal component of the patch features tells the two apart (as in
AnomalyDINO, Damm et al. 2025, arXiv:2405.14529); the cut is midway between Otsu's two classes, and
what lies along the border of the pictures is background. Textures fill the picture and have none.
If the pass over the backbone left the background out already (see `background`), what it computed
is the part. Features of patches that it did not compute are 0.

Shapes: B images, P patches of an image, F features, M patches of all images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from skimage.filters import threshold_otsu
from torch import Tensor, nn

from moekit import Grid

_MOST_OF_BORDER = 0.1
"""Share of the border's patches that a part on a background may touch."""
_SMALLEST, _LARGEST = 0.02, 0.8
"""Share of all patches that a part on a background may take."""
_FEWEST_WHOLE = 0.5
"""Share of the images that are computed whole, from which on these say where the background is."""


class Foreground(NamedTuple):
    """The rule of one product: a patch that is computed shows the part if `x_F @ axis_F > cut`.

    Attributes:
        axis_F: (F,) direction, zero if there is no background.
        cut: Along it; minus infinity if there is no background.
    """

    axis_F: Tensor
    cut: float

    @property
    def is_everywhere(self) -> bool:
        """Whether there is no background."""
        return self.cut == -math.inf

    @classmethod
    def everywhere(cls, features: int, device: torch.device) -> Foreground:
        """No background: each patch shows the part."""
        return cls(torch.zeros(features, device=device), -math.inf)

    @classmethod
    def computed(cls, features: int, device: torch.device) -> Foreground:
        """The background is what the pass over the backbone did not compute."""
        return cls(torch.zeros(features, device=device), -1.0)


def fit_foreground(x_BPF: Tensor, grid: Grid) -> Foreground:
    """Finds the rule from normal images.

    Args:
        x_BPF: (B, P, F) float32 features of some images.
        grid: Their rows and columns.
    """
    whole_B = is_computed(x_BPF).all(1)
    if whole_B.float().mean() <= _FEWEST_WHOLE:
        return Foreground.computed(x_BPF.shape[2], x_BPF.device)
    x_BPF = x_BPF[whole_B]
    flat_MF = x_BPF.flatten(0, 1)
    mean_F = flat_MF.mean(0)
    covariance_FF = (flat_MF - mean_F).T @ (flat_MF - mean_F) / len(flat_MF)
    axis_F = torch.linalg.eigh(covariance_FF).eigenvectors[:, -1]
    along_BP = (x_BPF - mean_F) @ axis_F
    border_P = _border(grid).to(along_BP.device)
    between = float(threshold_otsu(along_BP.cpu().numpy()))  # type: ignore[no-untyped-call]
    above_BP = along_BP > between
    cut = float(along_BP[above_BP].mean() + along_BP[~above_BP].mean()) / 2
    if along_BP[:, border_P].median() > cut:
        axis_F, along_BP, cut = -axis_F, -along_BP, -cut
    part_BP = along_BP > cut
    plain_border = part_BP[:, border_P].float().mean() <= _MOST_OF_BORDER
    if not (plain_border and _SMALLEST <= part_BP.float().mean() <= _LARGEST):
        return Foreground.everywhere(x_BPF.shape[2], x_BPF.device)
    return Foreground(axis_F, cut + float(mean_F @ axis_F))


def shows_part(x_BPF: Tensor, foreground: Foreground, grid: Grid) -> Tensor:
    """(B, P) whether each patch shows the part or lies next to a patch that does."""
    return on_part(x_BPF, x_BPF @ foreground.axis_F > foreground.cut, grid)


def on_part(x_BPF: Tensor, part_BP: Tensor, grid: Grid) -> Tensor:
    """(B, P) the patches of the part and their neighbours, of those that are computed."""
    computed_BP = is_computed(x_BPF)
    return grown(part_BP & computed_BP, grid) & computed_BP


def is_computed(x_BPF: Tensor) -> Tensor:
    """(B, P) which patches the pass over the backbone computed."""
    return (x_BPF != 0).any(2)


def grown(part_BP: Tensor, grid: Grid) -> Tensor:
    """(B, P) the patches of the part and their neighbours, since a defect may stick out."""
    plane = part_BP.float().view(-1, 1, grid.rows, grid.columns)
    wider = nn.functional.max_pool2d(plane, 3, stride=1, padding=1)
    return wider.flatten(1) > 0


def _border(grid: Grid) -> Tensor:
    """(P,) which patches lie along the border."""
    inside = torch.zeros(grid.rows, grid.columns, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    return ~inside.flatten()
