"""The routed memory if its search is recorded as a graph: no loop over data, no in-place write.

Cells of about one size stand in a group, their members as one batch of matrices padded to one
length. Of each group the queries that ask its cells are gathered to as many rows as its busiest
cell has, and compared in one batched product. Members lie in the graph about once and are read once
a batch. On the memory of 256 images (352 cells, 180,346 members) padding is 5% of the members.

Shapes: T queries, K cells in the order of the groups, C width, p cells that a query asks, n
(query, cell) pairs and one more, k cells of a group, W members of its greatest cell, S rows of its
busiest one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit_industrial.anomaly.cells import nearest_of_kind

_CELLS_PER_GROUP = 16


class GroupedMemory(nn.Module):
    """Called as `RoutedMemory` is, and gives the same to rounding.

    Args:
        bank_MC: (M, C) float32 members, those of a cell after those of another.
        centres_KC: (K, C) centres of the cells.
        counts_K: (K,) members of each cell, none without.
        kind_K: (K,) the kind of each cell.
        asked: p.
    """

    centres_KC: Tensor
    kind_K: Tensor

    def __init__(
        self, bank_MC: Tensor, centres_KC: Tensor, counts_K: Tensor, kind_K: Tensor, *, asked: int
    ) -> None:
        super().__init__()
        self.asked = asked
        order_K = counts_K.argsort(descending=True, stable=True)
        self.register_buffer("centres_KC", centres_KC[order_K])
        self.register_buffer("kind_K", kind_K[order_K])
        cells = torch.split(bank_MC, counts_K.tolist())
        ordered = [cells[cell] for cell in order_K.tolist()]
        self.groups = nn.ModuleList(
            _Group(ordered[first : first + _CELLS_PER_GROUP])
            for first in range(0, len(ordered), _CELLS_PER_GROUP)
        )

    def forward(self, x_TC: Tensor, kind_T: Tensor, wanted_T: Tensor) -> Tensor:
        """See `RoutedMemory.forward`."""
        far_Tp, cell_Tp = nearest_of_kind(
            x_TC, kind_T, centres_KC=self.centres_KC, kind_K=self.kind_K, asked=self.asked
        )
        asks_Tp = ~far_Tp.isinf() & wanted_T[:, None]
        blank_TK = kind_T.new_zeros(x_TC.shape[0], len(self.kind_K))
        asks_TK = blank_TK.scatter(1, cell_Tp, asks_Tp.to(blank_TK))
        counts_K = asks_TK.sum(0)
        # The query of each pair, pairs of a cell after those of another.
        query_n = nn.functional.pad(torch.nonzero(asks_TK.T)[:, 1], (0, 1))
        start_K = counts_K.cumsum(0) - counts_K
        last = counts_K.sum()
        found, bases, base = [], [], counts_K.new_zeros(())
        for group, count_k, start_k in zip(
            self.groups,
            torch.split(counts_K, _CELLS_PER_GROUP),
            torch.split(start_K, _CELLS_PER_GROUP),
            strict=True,
        ):
            rows = count_k.amax(0).clamp_min(1)
            found.append(group(x_TC, query_n, start_k, rows, last).flatten())
            bases.append(base + rows * torch.arange(len(count_k), device=rows.device))
            base = base + rows * len(count_k)
        place_TK = torch.cat(bases) + asks_TK.cumsum(0) - 1
        place_Tp = torch.where(asks_Tp, place_TK.gather(1, cell_Tp), 0)
        found_Tp = torch.cat(found)[place_Tp].masked_fill(~asks_Tp, torch.inf)
        far_T = (found_Tp.amin(1) + x_TC.square().sum(1)).clamp_min(0).sqrt()
        return torch.where(wanted_T, far_T, 0.0)


class _Group(nn.Module):
    """Some cells, whose members are compared with the queries that ask them.

    Args:
        cells: (m, C) members of each cell.
    """

    bank_kCW: Tensor
    squares_kW: Tensor

    def __init__(self, cells: list[Tensor]) -> None:
        super().__init__()
        bank_kWC = nn.utils.rnn.pad_sequence(cells, batch_first=True)
        squares = [cell.square().sum(1) for cell in cells]
        squares_kW = nn.utils.rnn.pad_sequence(squares, batch_first=True, padding_value=torch.inf)
        self.register_buffer("bank_kCW", bank_kWC.transpose(1, 2).contiguous())
        self.register_buffer("squares_kW", squares_kW)

    def forward(
        self, x_TC: Tensor, query_n: Tensor, start_k: Tensor, rows: Tensor, last: Tensor
    ) -> Tensor:
        """(k, S) least squared distance less |x|^2 of the queries that ask each cell.

        Rows of a cell beyond its last query are of others and mean nothing.

        Args:
            x_TC: (T, C) queries.
            query_n: (n,) the query of each pair.
            start_k: (k,) the first pair of each cell.
            rows: () S, at least 1.
            last: () n - 1.
        """
        # A graph takes a number of rows that depends on data from `nonzero`.
        row_S = torch.nonzero(torch.arange(x_TC.shape[0], device=rows.device) < rows)[:, 0]
        place_kS = torch.minimum(start_k[:, None] + row_S, last)
        x_kSC = x_TC[query_n[place_kS]]
        product_kSW = self.squares_kW[:, None] - 2 * torch.bmm(x_kSC, self.bank_kCW)
        return product_kSW.amin(2)
