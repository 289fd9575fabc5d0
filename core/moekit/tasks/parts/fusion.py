"""Features of several blocks put together place by place, for heads that answer at every place.

Shapes: B images, T frames of a stack (1 for images), N tokens of a frame (prefix tokens first, then
the patch grid row by row), D width of the backbone, L blocks, F width of the result, A attention
heads, K = F / A, S scales, M = S L keys of a place, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit.moe.specialists import Grid

_NEIGHBOURS = 9


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


def seen_picture(picture: Tensor | None, grid: Grid) -> Tensor:
    """(B, 3, Y, X) float32 of the pixels that a head reads; of stacks those of the middle frame.

    Args:
        picture: (B, 3, Y, X) or (B, T, 3, Y, X).
        grid: The patch grid and its frames.

    Raises:
        ValueError: There is none.
    """
    if picture is None:
        raise ValueError("this head reads the picture, and none is given")
    middle = picture[:, grid.frames // 2] if picture.ndim == 5 else picture
    return middle.float()


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
    """Each place attends over all blocks, each read at several scales.

    The query comes from all blocks at the place. Keys and values are each block's features there,
    and the means over windows around it: of a block as it is, smoothed, and smoothed further. A
    learned level says which block and scale a key is of, as in Deformable DETR (Zhu et al. 2021,
    arXiv:2010.04159); a bias says how far each is trusted. The depths are those of Hypercolumns
    (Hariharan et al. 2015, arXiv:1411.5752). All shapes but B are fixed, and the graph has no
    branches.

    Args:
        width: D.
        blocks: L.
        out: F, a multiple of `heads`.
        heads: A.
        scales: S distances; s reads the mean over (2s - 1) x (2s - 1) patches, of those inside the
            picture, so 1 reads the patch itself.
    """

    def __init__(
        self,
        width: int,
        blocks: int,
        *,
        out: int = 160,
        heads: int = 4,
        scales: Sequence[int] = (1, 2, 4),
    ) -> None:
        super().__init__()
        if out % heads:
            raise ValueError(f"the width {out} is no multiple of {heads} heads")
        self.heads = heads
        self.scales = tuple(scales)
        keys = blocks * len(self.scales)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.narrow = nn.ModuleList(nn.Linear(width, out) for _ in range(blocks))
        self.query = nn.Linear(blocks * out, out)
        self.key = nn.Linear(out, out, bias=False)
        self.value = nn.Linear(out, out)
        self.level_MF = nn.Parameter(torch.zeros(keys, out))
        self.trust_MA = nn.Parameter(torch.zeros(keys, heads))
        self.join = nn.Linear(out, out)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """L maps (B, D, h, w) to (B, F, h, w)."""
        narrow_BLhwF = torch.stack(
            [
                narrow(norm(one.permute(0, 2, 3, 1)))
                for norm, narrow, one in zip(self.norms, self.narrow, maps, strict=True)
            ],
            dim=1,
        )
        query_BhwAK = self._apart(self.query(narrow_BLhwF.movedim(1, 3).flatten(3)))
        query_BhwAK = query_BhwAK * query_BhwAK.shape[-1] ** -0.5
        level_M11F = self.level_MF[:, None, None]
        key_BMhwAK = self._apart(self._scaled(self.key(narrow_BLhwF)) + level_M11F)
        value_BMhwAK = self._apart(self._scaled(self.value(narrow_BLhwF)) + level_M11F)
        attention_BMhwA = (query_BhwAK[:, None] * key_BMhwAK).sum(-1)
        attention_BMhwA = (attention_BMhwA + self.trust_MA[:, None, None]).softmax(1)
        seen_BhwF = (attention_BMhwA[..., None] * value_BMhwAK).sum(1).flatten(3)
        fused: Tensor = narrow_BLhwF.mean(1) + self.join(seen_BhwF)
        return fused.permute(0, 3, 1, 2)

    def _apart(self, x: Tensor) -> Tensor:
        """(..., F) to (..., A, K)."""
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def _scaled(self, x_BLhwF: Tensor) -> Tensor:
        """(B, M, h, w, F), scale by scale."""
        return torch.cat([_smoothed(x_BLhwF, scale) for scale in self.scales], dim=1)


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
        scales: Sequence[int] = (1, 2, 4),
    ) -> None:
        super().__init__()
        with torch.device("meta"):  # only its size is needed; no random number is drawn
            attention = AttentionFusion(width, blocks, out=out, heads=heads, scales=scales)
        wanted = sum(one.numel() for one in attention.parameters()) - blocks * 2 * width
        each = blocks * width + 1 + _NEIGHBOURS + 1 + out
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


def _smoothed(x_BLhwF: Tensor, scale: int) -> Tensor:
    """The mean over what lies nearer than `scale`, of places inside the picture only."""
    if scale == 1:
        return x_BLhwF
    rows, columns = (_nearer(side, scale, x_BLhwF) for side in x_BLhwF.shape[2:4])
    down_BLhwF = (rows @ x_BLhwF.flatten(3)).reshape(x_BLhwF.shape)
    smooth_BLhwF: Tensor = columns @ down_BLhwF
    return smooth_BLhwF


def _nearer(side: int, scale: int, like: Tensor) -> Tensor:
    """(side, side) whose rows take the mean over the places nearer than `scale`."""
    place = torch.arange(side, device=like.device)
    near = ((place[:, None] - place[None, :]).abs() < scale).to(like.dtype)
    return near / near.sum(1, keepdim=True)
