"""The decoder: queries look at the map where their anchors lie, and move them layer by layer.

Shapes: B images, Q queries, F width, A heads, K = F / A, P points of a head, C classes, H and W
rows and columns of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit_detection.boxes import encoded, moved
from moekit_detection.queries import Queries


class Sampling(nn.Module):
    """Each query reads the map at a few points in and around its anchor.

    Deformable attention (Zhu et al. 2021, arXiv:2010.04159) whose offsets are parts of the anchor's
    sides, as in DAB-DETR (arXiv:2201.12329).

    Args:
        width: F.
        heads: A.
        points: P.
    """

    def __init__(self, width: int, *, heads: int, points: int) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.value = nn.Conv2d(width, width, 1)
        self.offset = nn.Linear(width, heads * points * 2)
        self.weight = nn.Linear(width, heads * points)
        self.join = nn.Linear(width, width)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.weight.weight)
        nn.init.zeros_(self.weight.bias)
        with torch.no_grad():  # spread over the anchor
            self.offset.bias.uniform_(-0.5, 0.5)

    def forward(self, query_BQF: Tensor, anchor_BQ4: Tensor, map_BFHW: Tensor) -> Tensor:
        """(B, Q, F) what the queries see."""
        count, width = query_BQF.shape[1:]
        heads, points = self.heads, self.points
        offset = self.offset(query_BQF).unflatten(-1, (heads, points, 2))
        weight_BQAP = self.weight(query_BQF).unflatten(-1, (heads, points)).softmax(-1)
        centre, side = anchor_BQ4[:, :, None, None, :2], anchor_BQ4[:, :, None, None, 2:]
        at_BQAP2 = 2 * (centre + offset * side) - 1
        value = self.value(map_BFHW).unflatten(1, (heads, width // heads)).flatten(0, 1)
        at = at_BQAP2.transpose(1, 2).flatten(0, 1)
        seen = nn.functional.grid_sample(
            value, at, mode="bilinear", padding_mode="border", align_corners=False
        )  # (B A, K, Q, P)
        weight = weight_BQAP.transpose(1, 2).flatten(0, 1)[:, None]
        joined = (seen * weight).sum(-1).unflatten(0, (-1, heads))  # (B, A, K, Q)
        output: Tensor = self.join(joined.flatten(1, 2).reshape(-1, width, count).transpose(1, 2))
        return output


class Layer(nn.Module):
    """Queries look at each other and at the map; then anchors move and logits change.

    Before training neither changes: the decoder begins as its first stage, and learns only what
    that lacks.

    Args:
        width: F.
        classes: C.
        heads: A.
        points: P.
    """

    def __init__(self, width: int, classes: int, *, heads: int, points: int) -> None:
        super().__init__()
        self.heads = heads
        self.place = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.sample = Sampling(width, heads=heads, points=points)
        self.mix = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.move = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        self.classify = nn.Linear(width, classes)
        for last in (self.move[-1], self.classify):
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, queries: Queries, map_BFHW: Tensor, mask_QQ: Tensor | None) -> Queries:
        """Queries with what they have seen, their anchors moved and their logits changed.

        Args:
            queries: As they are.
            map_BFHW: What they look at.
            mask_QQ: True if a query (row) may look at another (column); None for everywhere.
        """
        content_BQF, anchor_BQ4, logit_BQC = queries
        place_BQF = self.place(encoded(anchor_BQ4, content_BQF.shape[2]))
        asked = self.norms[0](content_BQF)
        content_BQF = content_BQF + self._among(asked, asked + place_BQF, mask_QQ)
        asked = self.norms[1](content_BQF) + place_BQF
        content_BQF = content_BQF + self.sample(asked, anchor_BQ4, map_BFHW)
        content_BQF = content_BQF + self.mix(self.norms[2](content_BQF))
        said = self.norms[3](content_BQF)
        return Queries(
            content_BQF, moved(anchor_BQ4, self.move(said)), logit_BQC + self.classify(said)
        )

    def _among(self, value_BQF: Tensor, placed_BQF: Tensor, mask_QQ: Tensor | None) -> Tensor:
        query, key, value = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for one in (self.query(placed_BQF), self.key(placed_BQF), self.value(value_BQF))
        )
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask_QQ)
        output: Tensor = self.join(seen.transpose(1, 2).flatten(2))
        return output


class Decoder(nn.Module):
    """Layers one after the other.

    Args:
        width: F.
        classes: C.
        layers: How many.
        heads: A.
        points: P.
    """

    def __init__(
        self, width: int, classes: int, *, layers: int = 2, heads: int = 4, points: int = 4
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(width, classes, heads=heads, points=points) for _ in range(layers)
        )

    def forward(
        self, queries: Queries, map_BFHW: Tensor, mask_QQ: Tensor | None = None
    ) -> list[Queries]:
        """The queries after each layer; gradients of anchors stay in their layer."""
        found = []
        for layer in self.layers:
            queries = layer(queries, map_BFHW, mask_QQ)
            found.append(queries)
            queries = queries._replace(anchor_BQ4=queries.anchor_BQ4.detach())
        return found
