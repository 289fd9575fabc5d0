"""A token gate that leaves out the plain background that a part lies on, before the first block.

Shapes: B images, P patches, E patches along the border, h and w rows and columns of the patch grid,
H and W height and width of the input in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid

THRESHOLD = 1.0
"""Patches with a lower score are background."""
_GRAIN = 3.0
"""A patch differs from this many times the contrast within the patches of the border on."""
_TONE = 0.3
"""And from this share of the contrast between the part and the border on."""
_PLAIN = 0.3
"""Contrast within and between the border's patches, as a share of the picture's, of a plain one."""
_USUAL, _STRONG = 0.9, 0.95
"""Quantiles: of the border's patches, a tenth of which may show a part, and of all patches."""
_LEAST = 0.05
"""Contrast below which a border is as plain as any, about 3 of 255 levels."""
_LEAST_TONE = 0.5
"""The same of the difference between a part and its background, about 30 levels."""
_WHOLE = 0.02
"""Share of the patches that a part covers at least; with less, the picture has none."""


class BackgroundTokenGate:
    """What differs from the plain border of the picture: by its tone, or by what is within a patch.

    It reads the picture only, each by itself, and learns nothing. Tone is the mean of a patch less
    the median of the border's patches; what is within is the greatest difference of the means of
    2 x 2 pixels. A patch is background (its score lies below `THRESHOLD`) if neither it nor a
    neighbour differs. If the border is not plain, or nothing lies on it, no patch is background:
    textures are computed whole.
    """

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        """See `moekit.TokenGate`."""
        del patch_BPD
        tone_BP, within_BP = _contrasts(picture.float(), grid)
        on_border_E = _border(grid, picture.device)
        # Quantiles are values at a rank, so that graphs compute the same.
        grain_B1 = _at_rank(within_BP[:, on_border_E], _USUAL).clamp_min(_LEAST)
        shade_B1 = _at_rank(tone_BP[:, on_border_E], _USUAL)
        most_B1 = _at_rank(tone_BP, _STRONG).clamp_min(_LEAST_TONE)
        strong_B1 = torch.maximum(_at_rank(within_BP, _STRONG), most_B1)
        own_BP = torch.maximum(within_BP / (_GRAIN * grain_B1), tone_BP / (_TONE * most_B1))
        plane_B1hw = own_BP.view(-1, 1, grid.rows, grid.columns)
        score_BP = nn.functional.max_pool2d(plane_B1hw, 3, stride=1, padding=1).flatten(1)
        shown_B1 = (own_BP >= THRESHOLD).float().mean(1, keepdim=True)
        is_plain_B1 = torch.maximum(grain_B1, shade_B1) < _PLAIN * strong_B1
        has_part_B1 = is_plain_B1 & (shown_B1 >= _WHOLE)
        return torch.where(has_part_B1, score_BP, score_BP + THRESHOLD)


def _contrasts(picture: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """(B, P) how far each patch's tone is from the border's, and how much differs within it."""
    sides = picture.shape[2] // grid.rows, picture.shape[3] // grid.columns
    tone_B3P = nn.functional.avg_pool2d(picture, sides).flatten(2)
    border_B3E = tone_B3P[:, :, _border(grid, picture.device)]
    usual_B31 = _at_rank(border_B3E.flatten(0, 1), 0.5).view(-1, 3, 1)
    pairs = tuple(2 if side % 2 == 0 else 1 for side in sides)
    smooth = nn.functional.avg_pool2d(picture, pairs)
    cells = tuple(side // pair for side, pair in zip(sides, pairs, strict=True))
    high = nn.functional.max_pool2d(smooth, cells)
    low = -nn.functional.max_pool2d(-smooth, cells)
    return (tone_B3P - usual_B31).abs().amax(1), (high - low).amax(1).flatten(1)


def _at_rank(x_BP: Tensor, quantile: float) -> Tensor:
    """(B, 1) the value that this share of each row does not exceed."""
    count = max(1, round((1 - quantile) * x_BP.shape[1]))
    return x_BP.topk(count, dim=1).values[:, -1:]


def _border(grid: Grid, device: torch.device) -> Tensor:
    """(E,) places of the patches along the border; their number is no tensor, as graphs need."""
    rows, columns = grid
    ends = {0, rows - 1}, {0, columns - 1}
    places = [
        row * columns + column
        for row in range(rows)
        for column in range(columns)
        if row in ends[0] or column in ends[1]
    ]
    return torch.tensor(places, device=device)
