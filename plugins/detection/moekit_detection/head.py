"""The heads: queries that the picture proposes and sizes, and the baseline's plain ones.

Shapes: B images, T frames of a stack (1 for images), L blocks that the head reads, N tokens, D
width of the backbone, F width of the map, H and W its rows and columns, S = H W places, Q queries,
C classes, E denoising queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit import Grid, HeadSite, Outputs
from moekit_detection.decoder import Decoder
from moekit_detection.denoising import disturbed, mask
from moekit_detection.features import FineMap
from moekit_detection.queries import DenseProposals, Gate, LearnedQueries, Queries
from moekit_detection.records import BOX, LOGIT

DENSE_LOGIT, DENSE_BOX = "dense_logit_BSC", "dense_box_BS4"
STEP_LOGIT, STEP_BOX = "step_logit_BLQC", "step_box_BLQ4"
NOISY_LOGIT, NOISY_BOX = "noisy_logit_BLEC", "noisy_box_BLE4"
NOISY_OBJECT, NOISY_COUNTS = "noisy_object_BE", "noisy_counts_BE"
DENSE_SHAPE = "dense_shape_B2"
"""What is returned in training only, for losses inside the head."""
Found = tuple[dict[str, Tensor], Tensor, list[Queries]]
"""Outputs, the map (B, F, H, W), and the queries after each layer, denoising ones last."""


class AnchorHead(nn.Module):
    """Dense proposals, of which the best become queries, and a decoder that refines them.

    The first stage is a one-stage detector by itself. A gate takes its greatest peaks as queries,
    with the boxes that it proposes as anchors: dynamic anchors in number of places, position and
    size (DAB-DETR, arXiv:2201.12329; DINO, arXiv:2203.03605). The decoder begins as the identity.
    The class token of the last block, which a scene expert writes to, tells each query what kind
    of picture it is in.

    A kit passes `functools.partial(AnchorHead, width=96)` and the like as its `build_head`.

    Args:
        site: Where the head sits.
        width: F, a multiple of 8 and of `heads`.
        stem: As of `FineMap`.
        queries: Q, the objects that can be found in a picture.
        layers: Of the decoder.
        heads: Attention heads.
        points: Points that a head looks at.
        pairs: Groups of denoising queries, near and far ones; 0 for none.
    """

    reads_picture = True
    reads_targets = True

    def __init__(
        self,
        site: HeadSite,
        *,
        width: int = 96,
        stem: int = 32,
        queries: int = 100,
        layers: int = 2,
        heads: int = 4,
        points: int = 4,
        pairs: int = 2,
    ) -> None:
        super().__init__()
        self.classes, self.pairs = site.classes, pairs
        self.map = FineMap(site, width=width, stem=stem)
        self.propose = DenseProposals(width, site.classes)
        self.gate = Gate(queries)
        self.context = _Context(site.width, width)
        self.name = nn.Embedding(site.classes + 1, width)
        nn.init.normal_(self.name.weight, std=0.02)
        self.decode = Decoder(width, site.classes, layers=layers, heads=heads, points=points)

    def forward(
        self,
        tokens: Sequence[Tensor],
        grid: Grid,
        picture: Tensor | None = None,
        targets: Outputs | None = None,
    ) -> Outputs:
        """L tensors (B * T, N, D) to `logit_BQC` and `box_BQ4`; in training more, see above."""
        return self.found(tokens, grid, picture, targets)[0]

    def found(
        self,
        tokens: Sequence[Tensor],
        grid: Grid,
        picture: Tensor | None = None,
        targets: Outputs | None = None,
    ) -> Found:
        """The outputs as of `forward`, the map, and the queries after each layer."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            map_BFHW = self.map(tokens, grid, picture)
            rows, columns = 2 * grid.rows, 2 * grid.columns
            dense = self.propose(map_BFHW)
            context_B1F = self.context(tokens[-1], grid)
            place_BQ = self.gate(dense.logit_BQC, rows, columns)
            chosen = dense.at(place_BQ)
            unknown = self.name.weight[-1]
            queries = _begun(chosen, chosen.content_BQF + unknown + context_B1F)
            count = place_BQ.shape[1]
            noisy = None
            if self.training and targets is not None and self.pairs:
                noisy = self._noisy(dense, targets, context_B1F, rows, columns)
            if noisy is None:
                steps = self.decode(queries, map_BFHW)
            else:
                both = Queries(
                    *(torch.cat(pair, 1) for pair in zip(queries, noisy[0], strict=True))
                )
                allowed = mask(count, self.pairs, noisy[3], map_BFHW.device)
                steps = self.decode(both, map_BFHW, allowed)
            last = steps[-1]
            outputs = {LOGIT: last.logit_BQC[:, :count], BOX: last.anchor_BQ4[:, :count]}
            if not self.training:
                return outputs, map_BFHW, steps
            outputs |= _steps(steps[:-1], count)
            shape = torch.tensor([rows, columns], device=map_BFHW.device)
            outputs |= {
                DENSE_LOGIT: dense.logit_BQC,
                DENSE_BOX: dense.anchor_BQ4,
                DENSE_SHAPE: shape.expand(len(map_BFHW), 2),
            }
            if noisy is not None:
                outputs |= {
                    NOISY_LOGIT: torch.stack([one.logit_BQC[:, count:] for one in steps], 1),
                    NOISY_BOX: torch.stack([one.anchor_BQ4[:, count:] for one in steps], 1),
                    NOISY_OBJECT: noisy[1],
                    NOISY_COUNTS: noisy[2],
                }
            return outputs, map_BFHW, steps

    def _noisy(
        self, dense: Queries, targets: Outputs, context_B1F: Tensor, rows: int, columns: int
    ) -> tuple[Queries, Tensor, Tensor, int] | None:
        """Denoising queries, their objects, whether they count, and the size of a group."""
        if not targets["label_BG"].shape[1]:
            return None
        made, size = disturbed(
            targets["label_BG"], targets["box_BG4"], classes=self.classes, pairs=self.pairs
        )
        scale = made.box_BE4.new_tensor([columns, rows])
        at = (made.box_BE4[..., :2] * scale).long()
        place_BE = at[..., 1].clamp(0, rows - 1) * columns + at[..., 0].clamp(0, columns - 1)
        known = dense.at(place_BE)._replace(anchor_BQ4=made.box_BE4)
        content_BEF = known.content_BQF + self.name(made.label_BE) + context_B1F
        return _begun(known, content_BEF), made.object_BE, made.counts_BE, size


class PlainQueryHead(nn.Module):
    """The same map and decoder with plain learned queries: what chosen anchors are compared with.

    Args:
        site: Where the head sits.
        width: F.
        stem: As of `FineMap`.
        queries: Q.
        layers: Of the decoder.
        heads: Attention heads.
        points: Points that a head looks at.
    """

    reads_picture = True

    def __init__(
        self,
        site: HeadSite,
        *,
        width: int = 96,
        stem: int = 32,
        queries: int = 100,
        layers: int = 2,
        heads: int = 4,
        points: int = 4,
    ) -> None:
        super().__init__()
        self.map = FineMap(site, width=width, stem=stem)
        self.queries = LearnedQueries(width, site.classes, queries)
        self.context = _Context(site.width, width)
        self.decode = Decoder(width, site.classes, layers=layers, heads=heads, points=points)

    def forward(
        self, tokens: Sequence[Tensor], grid: Grid, picture: Tensor | None = None
    ) -> Outputs:
        """L tensors (B * T, N, D) to `logit_BQC` and `box_BQ4`; in training each layer's too."""
        return self.found(tokens, grid, picture)[0]

    def found(
        self,
        tokens: Sequence[Tensor],
        grid: Grid,
        picture: Tensor | None = None,
        targets: Outputs | None = None,
    ) -> Found:
        """The outputs as of `forward`, the map, and the queries after each layer."""
        del targets
        with torch.autocast(tokens[0].device.type, enabled=False):
            map_BFHW = self.map(tokens, grid, picture)
            context_B1F = self.context(tokens[-1], grid)
            queries = self.queries(len(map_BFHW))
            queries = queries._replace(content_BQF=queries.content_BQF + context_B1F)
            steps = self.decode(queries, map_BFHW)
            last = steps[-1]
            outputs = {LOGIT: last.logit_BQC, BOX: last.anchor_BQ4}
            if self.training:
                outputs |= _steps(steps[:-1], last.logit_BQC.shape[1])
            return outputs, map_BFHW, steps


class _Context(nn.Module):
    """What the class token of the last block says of the whole picture.

    Args:
        given: D.
        width: F.
    """

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(given)
        self.narrow = nn.Linear(given, width)

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B * T, N, D) to (B, 1, F); of stacks that of the middle frame."""
        first_BD = x_BND[:, 0].float()
        if grid.frames > 1:
            first_BD = first_BD.reshape(-1, grid.frames, first_BD.shape[1])[:, grid.frames // 2]
        narrow: Tensor = self.narrow(self.norm(first_BD))
        return narrow[:, None]


def _begun(found: Queries, content_BQF: Tensor) -> Queries:
    """Queries that leave the first stage to its own loss."""
    return Queries(content_BQF, found.anchor_BQ4.detach(), found.logit_BQC.detach())


def _steps(steps: Sequence[Queries], count: int) -> dict[str, Tensor]:
    """The outputs of all layers but the last."""
    if not steps:
        return {}
    return {
        STEP_LOGIT: torch.stack([one.logit_BQC[:, :count] for one in steps], 1),
        STEP_BOX: torch.stack([one.anchor_BQ4[:, :count] for one in steps], 1),
    }
