"""A head that decides again where it is least sure, from the pixels there.

Shapes: B images, T frames of a stack (1 for images), N tokens of a frame, D width, L blocks that
the head reads, C classes, F width of the coarse features, E of the stem's, h and w rows and columns
of the coarse logits, H and W half those of the picture, S = H W places, K of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moekit.contract.outputs import HeadSite, Outputs
from moekit.moe.specialists import Grid
from moekit.tasks.parts.fusion import seen_picture
from moekit.tasks.segment.head import LOGIT, FusionSegHead

_GROUPS = 4
_DRAWN = 0.25
"""The part of the places that is drawn at random in training, as in PointRend."""


class PointSegHead(nn.Module):
    """The logits of a `FusionSegHead`, enlarged, and put right at the least certain places.

    PointRend (Kirillov et al. 2020, arXiv:1912.08193): coarse features and logits are read at a
    place, with what a small stem of convolutions sees in the pixels around it, and a perceptron
    says how the logits change. A place is uncertain if its two likeliest classes lie close. Most
    places lie at outlines, which a patch of 14 pixels only knows roughly. The perceptron starts at
    zero: before training the logits are those of the coarse head.

    A kit passes `functools.partial(PointSegHead, width=96)` and the like as its `build_head`.

    Args:
        site: Where the head sits.
        share: Of the places, those that are looked at again, above 0 and at most 1.
        stem: E, a multiple of 4.
        hidden: Width of the perceptron.
        coarse: Arguments of `FusionSegHead`.
    """

    reads_picture = True

    def __init__(
        self,
        site: HeadSite,
        *,
        share: float = 0.1,
        stem: int = 16,
        hidden: int = 64,
        **coarse: Any,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; it is above 0 and at most 1")
        self.share = share
        self.coarse = FusionSegHead(site, **coarse)
        self.stem = nn.Sequential(_conv(3, stem, stride=2), _conv(stem, stem))
        read = self.coarse.width + stem + site.classes
        self.correct = nn.Sequential(
            nn.Conv1d(read, hidden, 1),
            nn.GELU(),
            nn.Conv1d(hidden, hidden, 1),
            nn.GELU(),
        )
        self.classify = nn.Conv1d(hidden, site.classes, 1)
        nn.init.zeros_(self.classify.weight)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    def forward(
        self, tokens: Sequence[Tensor], grid: Grid, picture: Tensor | None = None
    ) -> Outputs:
        """L tensors (B * T, N, D) and the picture, (B, 3, 2 H, 2 W), to `logit_BChw` of H x W.

        Of stacks, (B, T, 3, 2 H, 2 W), the middle frame is looked at.
        """
        with torch.autocast(tokens[0].device.type, enabled=False):
            feature_BFhw, coarse_BChw = self.coarse.seen(tokens, grid)
            pixel_BEHW = self.stem(seen_picture(picture, grid))
            size = pixel_BEHW.shape[-2:]
            logit_BCHW = nn.functional.interpolate(
                coarse_BChw, size=size, mode="bilinear", align_corners=False
            )
            logit_BCS = logit_BCHW.flatten(2)
            place_BK = self._uncertain(logit_BCS.detach())
            known = torch.cat(
                [
                    _between(feature_BFhw, place_BK, size),
                    _at(pixel_BEHW.flatten(2), place_BK),
                    _at(logit_BCS, place_BK).detach(),
                ],
                dim=1,
            )
            change_BCK = self.classify(self.correct(known))
            index_BCK = place_BK[:, None].expand(-1, change_BCK.shape[1], -1)
            logit_BCS = logit_BCS.scatter_add(2, index_BCK, change_BCK)
            return {LOGIT: logit_BCS.reshape(logit_BCHW.shape)}

    def _uncertain(self, logit_BCS: Tensor) -> Tensor:
        """(B, K) int64, the places whose two likeliest classes lie closest."""
        count = max(1, round(self.share * logit_BCS.shape[2]))
        first_BS, second_BS = logit_BCS.topk(2, dim=1).values.unbind(1)
        margin_BS = first_BS - second_BS
        if self.training:
            drawn_BS = torch.rand_like(margin_BS) < self.share * _DRAWN
            margin_BS = margin_BS.masked_fill(drawn_BS, -1.0)
        return margin_BS.topk(count, dim=1, largest=False).indices


def _conv(given: int, made: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(given, made, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, made),
        nn.GELU(),
    )


def _at(x_BFS: Tensor, place_BK: Tensor) -> Tensor:
    """(B, F, K) of (B, F, S)."""
    return x_BFS.gather(2, place_BK[:, None].expand(-1, x_BFS.shape[1], -1))


def _between(x_BFhw: Tensor, place_BK: Tensor, size: Sequence[int]) -> Tensor:
    """(B, F, K), a coarser map where the places of a map of `size` lie, bilinear."""
    rows, columns = size
    down_BK = (place_BK // columns + 0.5) * (2 / rows) - 1
    across_BK = (place_BK % columns + 0.5) * (2 / columns) - 1
    found_BFK1 = nn.functional.grid_sample(
        x_BFhw,
        torch.stack([across_BK, down_BK], dim=-1)[:, :, None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return found_BFK1.squeeze(-1)
