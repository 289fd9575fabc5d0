"""A memory of patch features that is routed: cells are its experts, and a feature asks a few.

The features are clustered; the cells' centres are the rows of a router. A query is compared with
the members of its nearest cells only, as a token of a mixture-of-experts layer is computed by its
chosen experts only (an inverted file: Jegou, Douze and Schmid 2011, IEEE TPAMI 33:117, on features
as of PatchCore: Roth et al. 2022, arXiv:2106.08265).

Shapes: T queries, M members, K cells, C width, Q kinds, p cells that a query asks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from moekit_industrial.anomaly.cells import cluster, nearest, nearest_of_kind
from moekit_industrial.anomaly.grouped import GroupedMemory
from moekit_industrial.anomaly.sizes import SizedByState

MEMBERS_PER_CELL = 512


class Members(NamedTuple):
    """What is remembered of one kind.

    Attributes:
        bank_MC: (M, C) float32 members, those of a cell after those of another.
        centres_KC: (K, C) centres of the cells.
        counts_K: (K,) members of each cell, none without.
    """

    bank_MC: Tensor
    centres_KC: Tensor
    counts_K: Tensor

    @classmethod
    def of(cls, x_MC: Tensor, *, cells: int, generator: torch.Generator) -> Members:
        """Clusters (M, C) features into at most `cells` cells, fewer if members are few."""
        wanted = max(1, min(cells, len(x_MC) // MEMBERS_PER_CELL))
        centres_KC = cluster(x_MC, wanted, generator=generator)
        cell_M = nearest(x_MC, centres_KC)
        counts_K = torch.bincount(cell_M, minlength=wanted)
        order_M = cell_M.argsort(stable=True)
        # Rounded as it is stored, so that a loaded memory answers as the one that was saved.
        bank_MC = x_MC[order_M].half().float()
        filled = counts_K > 0
        return cls(bank_MC, centres_KC[filled], counts_K[filled])


class RoutedMemory(SizedByState):
    """Members in cells, of one kind or of several that are kept apart.

    A state dict holds the members in float16.

    Args:
        width: C.
        asked: p.
    """

    bank_MC: Tensor
    centres_KC: Tensor
    counts_K: Tensor
    kind_K: Tensor

    def __init__(self, width: int, *, asked: int) -> None:
        super().__init__()
        self.asked = asked
        self._squares: tuple[Tensor, Tensor] | None = None
        self.register_buffer("bank_MC", torch.zeros(0, width))
        self.register_buffer("centres_KC", torch.zeros(0, width))
        self.register_buffer("counts_K", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("kind_K", torch.zeros(0, dtype=torch.int64))

    def fill(self, kinds: list[Members]) -> None:
        """Takes what is remembered of each kind in place of what was there."""
        device = self.bank_MC.device
        self.bank_MC = torch.cat([kind.bank_MC for kind in kinds]).to(device)
        self.centres_KC = torch.cat([kind.centres_KC for kind in kinds]).to(device)
        self.counts_K = torch.cat([kind.counts_K for kind in kinds]).to(device)
        numbers = [torch.full_like(kind.counts_K, q) for q, kind in enumerate(kinds)]
        self.kind_K = torch.cat(numbers).to(device)

    def _squares_M(self) -> Tensor:
        """(M,) squared length of each member, computed once for a bank."""
        known, bank_MC = self._squares, self.bank_MC
        if known is None or known[0] is not bank_MC or known[1].device != bank_MC.device:
            known = self._squares = bank_MC, bank_MC.square().sum(1)
        return known[1]

    def members(self, kind: int) -> Tensor:
        """(M, C) the members of one kind."""
        mine_M = (self.kind_K == kind).repeat_interleave(self.counts_K)
        return self.bank_MC[mine_M]

    def export_form(self) -> GroupedMemory:
        """The same search for a graph; it holds the members again, padded."""
        return GroupedMemory(
            self.bank_MC, self.centres_KC, self.counts_K, self.kind_K, asked=self.asked
        )

    def forward(self, x_TC: Tensor, kind_T: Tensor, wanted_T: Tensor) -> Tensor:
        """(T,) Euclidean distance of each query to the nearest member that it finds.

        Args:
            x_TC: (T, C) float32 queries.
            kind_T: (T,) the kind whose members each query is compared with.
            wanted_T: (T,) which queries are answered; the answer to others is 0.
        """
        found_T = x_TC.new_zeros(len(x_TC))
        x_TC, kind_T = x_TC[wanted_T], kind_T[wanted_T]
        far_Tp, cell_Tp = nearest_of_kind(
            x_TC, kind_T, centres_KC=self.centres_KC, kind_K=self.kind_K, asked=self.asked
        )
        found_Tp = torch.full_like(far_Tp, torch.inf)
        found_Tp = self._ask(x_TC, cell_Tp, found_Tp.flatten()).view_as(far_Tp)
        nearest_T = found_Tp.masked_fill(far_Tp.isinf(), torch.inf).amin(1)
        found_T[wanted_T] = (nearest_T + x_TC.square().sum(1)).clamp_min(0).sqrt()
        return found_T

    def _ask(self, x_TC: Tensor, cell_Tp: Tensor, found_A: Tensor) -> Tensor:
        """Least squared distance less |x|^2 of each (query, cell) pair, cell by cell."""
        order_A = cell_Tp.flatten().argsort(stable=True)
        queries_A = order_A // cell_Tp.shape[1]
        asking_K = torch.bincount(cell_Tp.flatten(), minlength=len(self.counts_K)).tolist()
        squares_M = self._squares_M()
        first = begin = 0
        for asking, count in zip(asking_K, self.counts_K.tolist(), strict=True):
            if asking:
                pairs = order_A[first : first + asking]
                query_AC = x_TC[queries_A[first : first + asking]]
                bank_MC = self.bank_MC[begin : begin + count]
                product_AM = torch.addmm(
                    squares_M[begin : begin + count], query_AC, bank_MC.T, beta=1, alpha=-2
                )
                found_A[pairs] = product_AM.amin(1)
            first, begin = first + asking, begin + count
        return found_A

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}bank_MC"] = self.bank_MC.half()
