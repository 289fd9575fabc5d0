"""Boxes from a few examples a class, without training.

Each patch is compared with the mean of the patches inside the boxes of a class, and with clusters
of all other patches. Features of DINOv2 need no training for that (DE-ViT, Zhang et al. 2023,
arXiv:2309.12969). Boxes have the sizes of the examples. A box lies at a place if its inside looks
like its class and its surroundings do not.

Shapes: B images, D width, L blocks, F = D * L features, h and w rows and columns of the patch grid,
H = 2 h and W = 2 w those of the map, P patches, C classes, K clusters of what is of no class, S
sizes of a class, Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit import Grid, HeadSite, Outputs
from moekit.tasks.parts import patch_map
from moekit_detection.boxes import corners
from moekit_detection.queries import places
from moekit_detection.records import BOX, LOGIT

TEMPERATURE = 20.0
"""Factor of the cosines."""
_AROUND = 1.6
"""How many times as wide and high as a box what is looked at around it is."""
_LEAST, _NEVER = 1e-4, -20.0


class PrototypeBoxHead(nn.Module):
    """A head of the task `detect` whose parameters are buffers that `fit_box_prototypes` fills.

    Args:
        site: Width, blocks and classes.
        queries: Q, the objects that can be found in a picture.
        sizes: S.
        clusters: K.
    """

    def __init__(
        self, site: HeadSite, *, queries: int = 100, sizes: int = 4, clusters: int = 32
    ) -> None:
        super().__init__()
        features = site.width * site.blocks
        self.queries = queries
        self.register_buffer("centre_F", torch.zeros(features))
        self.register_buffer("class_CF", torch.zeros(site.classes, features))
        self.register_buffer("other_KF", torch.zeros(clusters, features))
        self.register_buffer("side_CS2", torch.full((site.classes, sizes, 2), 0.1))
        self.centre_F: Tensor
        self.class_CF: Tensor
        self.other_KF: Tensor
        self.side_CS2: Tensor

    def described(self, tokens: Sequence[Tensor], grid: Grid) -> Tensor:
        """(B, F, h, w) float32 features of patches, those of each block of length one."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            maps = [patch_map(one.float(), grid) for one in tokens]
            return torch.cat([nn.functional.normalize(one, dim=1) for one in maps], dim=1)

    def chances(self, described_BFhw: Tensor) -> Tensor:
        """(B, C, H, W) how likely each place is one of each class."""
        unit = nn.functional.normalize(described_BFhw - self.centre_F[:, None, None], dim=1)
        known = torch.einsum("bfhw,cf->bchw", unit, self.class_CF)
        other = torch.einsum("bfhw,kf->bkhw", unit, self.other_KF).amax(1, keepdim=True)
        chance = (TEMPERATURE * torch.cat([known, other], dim=1)).softmax(1)[:, :-1]
        return nn.functional.interpolate(
            chance, scale_factor=2.0, mode="bilinear", align_corners=False
        )

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """L tensors (B * T, N, D) to `logit_BQC` and `box_BQ4`."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            chance_BCHW = self.chances(self.described(tokens, grid))
            rows, columns = chance_BCHW.shape[-2:]
            at_P2 = places(rows, columns, chance_BCHW) / chance_BCHW.new_tensor([columns, rows])
            contrast_BCPS = self._contrast(chance_BCHW, at_P2)
            best_BCP, size_BCP = contrast_BCPS.max(-1)
            plane = best_BCP.reshape(*best_BCP.shape[:2], rows, columns)
            around = nn.functional.max_pool2d(plane, 3, stride=1, padding=1).flatten(2)
            rank_BM = (best_BCP + (best_BCP >= around).to(best_BCP.dtype)).flatten(1)
            chosen_BQ = rank_BM.topk(min(self.queries, rank_BM.shape[1]), dim=1).indices
            class_BQ, place_BQ = chosen_BQ // len(at_P2), chosen_BQ % len(at_P2)
            score_BQ = best_BCP.flatten(1).gather(1, chosen_BQ).clamp(_LEAST, 1 - _LEAST)
            side_BQ2 = self.side_CS2[class_BQ, size_BCP.flatten(1).gather(1, chosen_BQ)]
            shown = nn.functional.one_hot(class_BQ, len(self.class_CF)).bool()
            logit_BQC = torch.where(shown, score_BQ.logit()[..., None], _NEVER)
            return {LOGIT: logit_BQC, BOX: torch.cat([at_P2[place_BQ], side_BQ2], dim=-1)}

    def _contrast(self, chance_BCHW: Tensor, at_P2: Tensor) -> Tensor:
        """(B, C, P, S) the mean chance in boxes around all places, less that around them.

        Boxes of all places of one class and size are alike, so sums over them are four reads of the
        integral image (Viola and Jones 2001), between its cells linearly.
        """
        integral = nn.functional.pad(chance_BCHW.cumsum(-1).cumsum(-2), (1, 0, 1, 0))
        inner, wide = (self._sums(integral, at_P2, factor) for factor in (1.0, _AROUND))
        ring = (wide[0] - inner[0]) / (wide[1] - inner[1]).clamp_min(1e-6)
        return inner[0] / inner[1].clamp_min(1e-6) - ring

    def _sums(self, integral: Tensor, at_P2: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """(B, C, P, S) sums over boxes, and their areas in cells, as far as they are inside."""
        rows, columns = integral.shape[-2] - 1, integral.shape[-1] - 1
        side_CPS2 = factor * self.side_CS2[:, None].expand(-1, len(at_P2), -1, -1)
        centre_CPS2 = at_P2[None, :, None].expand_as(side_CPS2)
        corner = corners(torch.cat([centre_CPS2, side_CPS2], dim=-1)).clamp(0, 1)
        x0, y0, x1, y1 = (corner * corner.new_tensor([columns, rows] * 2)).unbind(-1)

        def read(x: Tensor, y: Tensor) -> Tensor:
            # The centre of the first cell of the integral image is at 0, of the last at the end.
            at = torch.stack([2 * x / columns - 1, 2 * y / rows - 1], dim=-1)
            planes = integral.transpose(0, 1)  # (C, B, H + 1, W + 1): one grid a class
            seen = nn.functional.grid_sample(planes, at, align_corners=True)
            return seen.transpose(0, 1)

        total = read(x1, y1) - read(x0, y1) - read(x1, y0) + read(x0, y0)
        return total, (x1 - x0) * (y1 - y0)
