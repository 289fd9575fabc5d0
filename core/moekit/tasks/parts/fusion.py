"""Features of several blocks put together place by place, for heads that answer at every place.

Shapes: B images, T frames of a stack (1 for images), N tokens of a frame (prefix tokens first, then
the patch grid row by row), D width of the backbone, L blocks, F width of the result, A attention
heads, K = F / A, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit.moe.specialists import Grid

_FAR = -1e4
"""Added to the attention that a place outside the picture would get; finite, for half precision."""

_AROUND = tuple(itertools.product((-1, 0, 1), repeat=2))


def patch_map(x_BND: Tensor, grid: Grid) -> Tensor:
    """(B, D, h, w) float32 of a block's tokens; of stacks those of the middle frame.

    Args:
        x_BND: (B * T, N, D), with any number of prefix tokens.
        grid: The patch grid and its frames.
    """
    patches = x_BND[:, x_BND.shape[1] - grid.patches :].float()
    if grid.frames > 1:
        patches = patches.reshape(-1, grid.frames, *patches.shape[1:])[:, grid.frames // 2]
    return patches.transpose(1, 2).reshape(-1, patches.shape[2], grid.rows, grid.columns)


class PlaceNorm(nn.Module):
    """Layer norm over the channels of each place of a (B, F, h, w) map.

    Args:
        width: F.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to the same shape."""
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


class AttentionFusion(nn.Module):
    """Each place attends over all blocks, at its own place and around it, at several scales.

    The query comes from a weighted mean of the blocks at the place. Keys and values come from every
    block at the 3 x 3 places around it, and again from the block smoothed and read twice as far
    away, and so on for each scale. A bias says how far each block, scale and offset is trusted.
    Cross-layer attention over a feature's own neighbourhood is that of NAT (Hassani et al. 2023,
    arXiv:2204.07143), here with the depths of Hypercolumns (Hariharan et al. 2015,
    arXiv:1411.5752) as further keys. All shapes but B are fixed, and the graph has no branches.

    Args:
        width: D.
        blocks: L.
        out: F, a multiple of `heads`.
        heads: A.
        scales: Distances at which neighbours are read, in patches; 1 reads the map itself, s a mean
            over (2s - 1) x (2s - 1) patches.
    """

    def __init__(
        self,
        width: int,
        blocks: int,
        *,
        out: int = 160,
        heads: int = 4,
        scales: Sequence[int] = (1, 2),
    ) -> None:
        super().__init__()
        if out % heads:
            raise ValueError(f"the width {out} is no multiple of {heads} heads")
        self.heads = heads
        self.scales = tuple(scales)
        self.norms = nn.ModuleList(PlaceNorm(width) for _ in range(blocks))
        self.narrow = nn.ModuleList(nn.Conv2d(width, out, 1) for _ in range(blocks))
        self.share_L = nn.Parameter(torch.zeros(blocks))
        self.query = nn.Conv2d(out, out, 1)
        self.key = nn.Conv2d(out, out, 1, bias=False)
        self.value = nn.Conv2d(out, out, 1)
        self.trust = nn.Parameter(torch.zeros(blocks * len(self.scales) * len(_AROUND), heads))
        self.join = nn.Conv2d(out, out, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """L maps (B, D, h, w) to (B, F, h, w)."""
        narrow = [
            narrow(norm(one))
            for norm, narrow, one in zip(self.norms, self.narrow, maps, strict=True)
        ]
        stacked = torch.stack(narrow, dim=1)
        mean = (stacked * self.share_L.softmax(0)[:, None, None, None]).sum(1)
        query = self._apart(self.query(mean))[:, None] * (mean.shape[1] // self.heads) ** -0.5
        together = stacked.flatten(0, 1)
        rows, columns = mean.shape[2], mean.shape[3]
        keys = self._around(self.key(together), rows, columns)
        trust = self.trust.reshape(len(narrow), len(keys), self.heads, 1, 1)
        outside = self._outside(mean)
        attention = torch.stack(
            [
                (query * key).sum(3) + trust[:, place] + outside[place]
                for place, key in enumerate(keys)
            ],
            dim=1,
        )
        attention = (
            attention.flatten(1, 2)
            .softmax(1)
            .reshape(-1, len(keys), len(narrow), self.heads, rows, columns)
        )
        values = self._around(self.value(together), rows, columns)
        seen = [
            (attention[:, place, :, :, None] * value).sum(1) for place, value in enumerate(values)
        ]
        fused: Tensor = mean + self.join(torch.stack(seen).sum(0).flatten(1, 2))
        return fused

    def _apart(self, x: Tensor) -> Tensor:
        """(..., F, h, w) to (..., A, K, h, w)."""
        return x.reshape(*x.shape[:-3], self.heads, -1, *x.shape[-2:])

    def _around(self, x: Tensor, rows: int, columns: int) -> list[Tensor]:
        """(B * L, F, h, w) as seen from its neighbours, by scale and offset: (B, L, A, K, h, w)."""
        blocks, seen = len(self.norms), []
        for scale in self.scales:
            smooth = self._apart(_smoothed(x, scale).reshape(-1, blocks, *x.shape[1:]))
            padded = nn.functional.pad(smooth, (scale, scale, scale, scale))
            for down, across in _AROUND:
                top, left = (down + 1) * scale, (across + 1) * scale
                seen.append(padded[..., top : top + rows, left : left + columns])
        return seen

    def _outside(self, like: Tensor) -> list[Tensor]:
        """(h, w) by scale and offset: 0 for places inside the picture, very little outside."""
        rows, columns = like.shape[2], like.shape[3]
        row, column = torch.arange(rows), torch.arange(columns)
        outside = []
        for scale in self.scales:
            for down, across in _AROUND:
                inside_row = (row + down * scale >= 0) & (row + down * scale < rows)
                inside_column = (column + across * scale >= 0) & (column + across * scale < columns)
                inside = (inside_row[:, None] & inside_column[None, :]).to(like)
                outside.append((1 - inside) * _FAR)
        return outside


class ConcatenationFusion(nn.Module):
    """The same blocks side by side, mixed by a narrow layer: what attention is compared with.

    The inner width is chosen so that there are as many parameters as in `AttentionFusion` of the
    same arguments. A depthwise 3 x 3 convolution lets it see the same neighbours.

    Args:
        width: D.
        blocks: L.
        out: F.
        heads: A, of the attention that it is compared with.
        scales: Likewise.
    """

    def __init__(
        self,
        width: int,
        blocks: int,
        *,
        out: int = 160,
        heads: int = 4,
        scales: Sequence[int] = (1, 2),
    ) -> None:
        super().__init__()
        narrow = blocks * (width * out + out)
        trust = blocks * (1 + len(tuple(scales)) * len(_AROUND) * heads)
        wanted = narrow + 4 * out * out + 3 * out + trust
        each = blocks * width + 1 + len(_AROUND) + 1 + out
        inner = max(1, round((wanted - out) / each))
        self.norms = nn.ModuleList(PlaceNorm(width) for _ in range(blocks))
        self.mix = nn.Sequential(
            nn.Conv2d(blocks * width, inner, 1),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            nn.GELU(),
            nn.Conv2d(inner, out, 1),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """L maps (B, D, h, w) to (B, F, h, w)."""
        normed = [norm(one) for norm, one in zip(self.norms, maps, strict=True)]
        fused: Tensor = self.mix(torch.cat(normed, dim=1))
        return fused


def _smoothed(x: Tensor, scale: int) -> Tensor:
    """The mean over what lies nearer than `scale`, of places inside the picture only."""
    if scale == 1:
        return x
    side, pad = 2 * scale - 1, scale - 1
    return nn.functional.avg_pool2d(x, side, stride=1, padding=pad, count_include_pad=False)
