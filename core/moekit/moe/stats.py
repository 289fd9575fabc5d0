"""Routing statistics: load of each expert, entropy, the worst violation of balance.

Shapes: B images, N tokens, E experts.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from moekit.moe.routing import Routing


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockRouting:
    """What one router did in one forward pass.

    Attributes:
        block: Index of the block.
        kit: The kit whose specialists these are; None for the generic experts.
        counts_BE: (B, E) tokens of each image that an expert computed. A kit's last expert is its
            "none".
        entropy: Mean over tokens of the entropy of softmax(scores), in nats: 0 is certain, log E
            is undecided.
        routing: The pairs themselves.
    """

    block: int
    kit: str | None
    counts_BE: Tensor
    entropy: float
    routing: Routing

    @property
    def load_E(self) -> Tensor:
        """(E,) each expert's share of all token-expert pairs; sums to 1."""
        return load_of(self.counts_BE.sum(0))

    @property
    def maxvio(self) -> float:
        """See `maxvio_of`."""
        return maxvio_of(self.counts_BE.sum(0))

    @property
    def dead(self) -> list[int]:
        """The experts that no token had."""
        return dead_of(self.counts_BE.sum(0))


def load_of(counts_E: Tensor) -> Tensor:
    """(E,) float64: each expert's share of (E,) counts; sums to 1, or to 0 if nothing ran."""
    counts_E = counts_E.double()
    return counts_E / counts_E.sum().clamp_min(1)


def maxvio_of(counts_E: Tensor) -> float:
    """How far the busiest expert exceeds the mean load: max / mean - 1, 0 when balanced.

    Wang et al. 2024 (arXiv:2408.15664), equation 4.
    """
    load_E = load_of(counts_E)
    return float(load_E.max() / load_E.mean() - 1) if load_E.sum() > 0 else 0.0


def dead_of(counts_E: Tensor) -> list[int]:
    """The experts that no token had."""
    unused: list[int] = (counts_E == 0).nonzero()[:, 0].tolist()
    return unused


class RoutingTrace:
    """Collects a `BlockRouting` from every router that a forward pass meets."""

    def __init__(self) -> None:
        self.blocks: list[BlockRouting] = []

    @torch.no_grad()
    def add(self, *, block: int, kit: str | None, routing: Routing, scores_BNE: Tensor) -> None:
        """Files one router's decision."""
        log_BNE = scores_BNE.float().log_softmax(dim=-1)
        entropy = float(-(log_BNE.exp() * log_BNE).sum(-1).mean())
        self.blocks.append(
            BlockRouting(
                block=block,
                kit=kit,
                counts_BE=routing.counts_BE(scores_BNE.shape[0]),
                entropy=entropy,
                routing=routing,
            )
        )
