"""The head: queries of the task `detect`, and for each of them a kernel over features of pixels.

Mask features and kernels of queries: CondInst (Tian et al. 2020, arXiv:2003.05664) and Mask2Former
(Cheng et al. 2022, arXiv:2112.01527). Queries and patches of a frozen backbone are read together,
with lateral inputs from several depths: see `moekit_detection.features.FineMap`.

Shapes: B images, T frames of a stack (1 for images), L layers of the decoder, N tokens, D width of
the backbone, W width of the map, h and w rows and columns of the features, K channels that are
learned, F = K + 5 channels, Q queries, E denoising queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moekit import Grid, HeadSite, Outputs
from moekit.tasks.parts import Twice
from moekit_detection.features import Residual
from moekit_detection.head import NOISY_LOGIT, AnchorHead, Found
from moekit_detection.instances.pixels import FEATURE, KERNEL
from moekit_detection.queries import Queries, places
from moekit_detection.records import LOGIT

STEP_KERNEL, NOISY_KERNEL = "step_kernel_BLQF", "noisy_kernel_BLEF"
"""What is returned in training only: kernels after all layers but the last, and of denoising."""
_SMALLEST = 0.01
"""Least half side of the ellipse that a mask begins as, as a share of the input's sides."""


class MaskHead(nn.Module):
    """A head of the task `detect`, and masks of what its queries find.

    A kit passes `functools.partial(MaskHead, find=AnchorHead, width=96)` and the like.

    Args:
        site: Where the head sits.
        find: Makes the head that finds boxes: `AnchorHead` or `PlainQueryHead`.
        width: W, for `find` too; a multiple of 8.
        channels: K.
        options: Further arguments of `find`.
    """

    reads_picture = True

    def __init__(
        self,
        site: HeadSite,
        *,
        find: Callable[..., Any] = AnchorHead,
        width: int = 96,
        channels: int = 16,
        **options: Any,
    ) -> None:
        super().__init__()
        self.find = find(site, width=width, **options)
        self.reads_targets = bool(getattr(self.find, "reads_targets", False))
        self.draw = MaskFeatures(width, channels)
        self.tell = MaskKernels(width, channels)

    def forward(
        self,
        tokens: Sequence[Tensor],
        grid: Grid,
        picture: Tensor | None = None,
        targets: Outputs | None = None,
    ) -> Outputs:
        """L tensors (B * T, N, D) to boxes, features and kernels; in training more, see above."""
        found: Found = self.find.found(tokens, grid, picture, targets)
        outputs, map_BWhw, steps = found
        count = outputs[LOGIT].shape[1]
        with torch.autocast(tokens[0].device.type, enabled=False):
            outputs[FEATURE] = self.draw(map_BWhw)
            if not self.training:
                outputs[KERNEL] = self.tell(steps[-1])
                return outputs
            kernels = [self.tell(one) for one in steps]
            outputs[KERNEL] = kernels[-1][:, :count]
            if kernels[:-1]:
                outputs[STEP_KERNEL] = torch.stack([one[:, :count] for one in kernels[:-1]], 1)
            if NOISY_LOGIT in outputs:
                outputs[NOISY_KERNEL] = torch.stack([one[:, count:] for one in kernels], 1)
            return outputs


class MaskFeatures(nn.Module):
    """What masks are made from: learned channels of a map enlarged once more, and places.

    Args:
        width: W.
        channels: K.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.refine = Residual(width)
        self.twice = Twice(width)
        self.narrow = nn.Conv2d(width // 2, channels, 1)

    def forward(self, map_BWhw: Tensor) -> Tensor:
        """(B, W, h / 2, w / 2) to (B, F, h, w): K learned channels, then 1, x, y, x^2 and y^2."""
        learned = self.narrow(nn.functional.gelu(self.twice(self.refine(map_BWhw))))
        rows, columns = learned.shape[-2:]
        at_S2 = places(rows, columns, learned) / learned.new_tensor([columns, rows])
        known_S5 = torch.cat([torch.ones_like(at_S2[:, :1]), at_S2, at_S2**2], dim=1)
        known = known_S5.T.reshape(1, 5, rows, columns).expand(learned.shape[0], -1, -1, -1)
        return torch.cat([learned, known], dim=1)


class MaskKernels(nn.Module):
    """The weights by which features become the log-odds of a query's mask.

    They hold an ellipse in the query's box as weights of 1, x, y, x^2 and y^2, so that objects that
    look the same are told apart by their places, as by CondInst's relative coordinates, while a
    mask stays one product. Before training a mask is that ellipse.

    Args:
        width: W.
        channels: K.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, channels + 2)
        )
        nn.init.zeros_(self.weigh[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.weigh[-1].bias)  # type: ignore[arg-type]

    def forward(self, queries: Queries) -> Tensor:
        """(B, Q, F) kernels; gradients of anchors stay with the losses of boxes."""
        said = self.weigh(self.norm(queries.content_BQF))
        learned, level, slope = said[..., :-2], 1 + said[..., -2:-1], 1 + said[..., -1:]
        anchor = queries.anchor_BQ4.detach()
        centre, half = anchor[..., :2], (anchor[..., 2:] / 2).clamp_min(_SMALLEST)
        square = slope / half**2
        constant = level - (square * centre**2).sum(-1, keepdim=True)
        return torch.cat([learned, constant, 2 * square * centre, -square], dim=-1)
