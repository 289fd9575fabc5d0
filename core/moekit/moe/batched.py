"""Dispatch without gradients on a CPU: few products of few shapes, in memory that is warm.

A layer of 16 small experts spends its time on four things next to the arithmetic of a dense FFN of
the same size: starting 32 products (10 to 20 microseconds each, more with several threads);
compiling a bfloat16 product for each number of rows not met lately (0.8 milliseconds: torch keeps
1,024, and the loads of experts differ with each input); memory (a page fault every 4 KiB if it
is too large for the allocator to hand out again); and moving rows. So

- neighbouring experts share one batched product, padded to the busiest of them, as long as the
  padding costs less than starting another product (`group_experts`);
- if starting one is cheap, on one thread, all experts are one grouped product without padding
  instead (`pays_grouped`);
- in bfloat16 numbers of rows are rounded up by some 2% (`round_rows`), so that shapes come back;
- pairs are put in order by counting, not by sorting;
- the rows of all groups are gathered into the same small memory, which stays in the cache;
- the results stay where the products wrote them, and are gathered, weighted and added up in one
  pass by `torch.embedding_bag`, one bag a token;
- results too large for the allocator to hand out again are written into memory that is kept. All
  smaller memory is allocated again: what was used last is warm, and memory of the layer's own is
  cold by the next call, which took 0.1 to 0.3 of the dense FFN's time more.

Rows of padding hold the first token; they are computed and never read.

Shapes: T tokens, D width, E experts, H hidden neurons, P token-expert pairs, G experts of a group,
N rows that each of them has, S rows of all results.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from moekit.moe.bank import Bank, BankWeights
from moekit.moe.instructions import InstructionSet, instruction_set
from moekit.moe.routing import Routing

_GROUP_BYTES = 3 * 2**19
_FRESH_BYTES = 4 * 2**20
_MOST_BYTES = 64 * 2**20
_KEPT = threading.local()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Experts that share a batched product.

    Attributes:
        experts: Consecutive numbers.
        rows: N, those of the busiest of them.
    """

    experts: range
    rows: int


def dispatch_batched(x_TD: Tensor, routing: Routing, bank: Bank, *, dtype: torch.dtype) -> Tensor:
    """Runs the chosen experts of a bank, shared bias included.

    Args:
        x_TD: (T, D) tokens, on a CPU.
        routing: The pairs.
        bank: The experts.
        dtype: Of the arithmetic and of the result.

    Returns:
        (T, D) without gradients.
    """
    x_TD = x_TD.to(dtype)
    weights = bank.weights_in(dtype)
    most = _MOST_BYTES // max(x_TD[:1].nbytes * (routing.chosen or 1), 1)
    parts = [
        _dispatch(x_TD[first : first + part.tokens], part, bank, weights)
        for first, part in routing.parts(max(most, 1))
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def group_experts(sizes: Sequence[int], *, slack: int, most: int) -> Iterator[Group]:
    """Joins neighbouring experts while that adds few rows of padding.

    Args:
        sizes: Rows of each expert.
        slack: Rows of padding that cost as much as starting another product.
        most: Rows that a group of several experts has at most, padding included.
    """
    first, rows = 0, sizes[0]
    for expert in range(1, len(sizes)):
        count, joint = expert - first, max(rows, sizes[expert])
        padding = joint * (count + 1) - rows * count - sizes[expert]
        if padding > slack or joint * (count + 1) > most:
            yield Group(experts=range(first, expert), rows=rows)
            first, joint = expert, sizes[expert]
        rows = joint
    yield Group(experts=range(first, len(sizes)), rows=rows)


def round_rows(rows: int) -> int:
    """The next multiple of 8, of 16 from 256 rows on, of 32 from 512 on, and so forth."""
    step = max(8, 1 << max(rows.bit_length() - 5, 0))
    return -(-rows // step) * step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """What pays on one thread, as it was measured for experts of 384 x 96 (16 of them, top-4).

    Attributes:
        slack: Rows of padding that cost as much as starting two more products, by dtype; 24 for
            others.
        grouped: The dtypes in which one grouped product is faster than batched ones.
    """

    slack: Mapping[torch.dtype, int]
    grouped: tuple[torch.dtype, ...]


RULES: Mapping[InstructionSet, Rule] = {
    "bf16": Rule(slack={torch.bfloat16: 96}, grouped=(torch.float32,)),
    "plain": Rule(slack={}, grouped=(torch.float32, torch.bfloat16)),
}
"""By instruction set, since a row in bfloat16 costs ten times as much if it is emulated.

The rules are a table rather than a measurement at run time, so that a result never depends on how
busy the machine was: only on the processor, whose own arithmetic differs to rounding too. To
measure again: `tests/benchmarks/test_dispatch_rules.py`.

- `bf16` (AVX-512 with bfloat16, two quiet cores): the two products of one more expert start in 20
  to 40 microseconds, in which one thread computes 15 to 25 rows in float32 and 50 to 100 in
  bfloat16. Twice these figures changes the layer's time by up to 6%. The grouped product takes
  0.88 (196 tokens) to 0.90 (512) of the batched time in float32, 1.05 to 1.3 in bfloat16.
- `plain` (a processor with AVX-512 kept to AVX2, busy with other work): the grouped product takes
  0.96 (196 tokens) and 0.91 (512) in float32, 0.73 (64) to 0.91 (1,024) in bfloat16. Less or more
  slack changes the time by up to 8%, within the scatter.
"""
_SLACK = 24


def slack_rows(dtype: torch.dtype, threads: int) -> int:
    """Rows of padding that cost as much as starting two more products; see `RULES`.

    With several threads a start costs more and a row less; the figure is doubled, which is not
    calibrated.
    """
    one = RULES[instruction_set()].slack.get(dtype, _SLACK)
    return one if threads == 1 else 2 * one


def pays_grouped(width: int, hidden: int, dtype: torch.dtype, threads: int) -> bool:
    """Whether one grouped product of all experts is faster than batched products of some.

    It starts a product for each expert inside, cheaply; see `RULES`. With several threads each of
    its products has to join them all; that is not measured. It always takes fresh memory, so large
    results are left to the batched products.
    """
    faster = dtype in RULES[instruction_set()].grouped
    return faster and threads == 1 and is_aligned(width, hidden, dtype)


def is_aligned(width: int, hidden: int, dtype: torch.dtype) -> bool:
    """Whether `grouped_mm` takes experts of this size: rows of a multiple of 16 bytes."""
    return all(size * dtype.itemsize % 16 == 0 for size in (width, hidden))


def _dispatch(x_TD: Tensor, routing: Routing, bank: Bank, weights: BankWeights) -> Tensor:
    if not len(routing.token_P):
        return weights.b2_D.expand_as(x_TD).clone()
    flat_P, rank_ET = _ranks(routing)
    sizes: list[int] = rank_ET[:, -1].tolist()
    threads = torch.get_num_threads()
    fresh = len(flat_P) * x_TD[:1].nbytes <= _FRESH_BYTES
    grouped = fresh and pays_grouped(x_TD.shape[1], bank.hidden, x_TD.dtype, threads)
    if grouped:
        groups = [Group(experts=range(at, at + 1), rows=rows) for at, rows in enumerate(sizes)]
    else:
        rounded = map(round_rows, sizes) if x_TD.dtype == torch.bfloat16 else sizes
        slack, most = slack_rows(x_TD.dtype, threads), _GROUP_BYTES // x_TD[:1].nbytes
        groups = list(group_experts(list(rounded), slack=slack, most=most))
    row_P = (rank_ET + _before(groups)).view(-1).index_select(0, flat_P).long()
    rows = sum(len(group.experts) * group.rows for group in groups)
    token_S = routing.token_P.new_zeros(rows).scatter_(0, row_P, routing.token_P)
    if grouped:
        y_SD = _run_grouped(x_TD, token_S, rank_ET[:, -1], bank, weights)
    else:
        y_SD = _run_groups(x_TD, token_S, groups, bank, weights)
    return _combine(y_SD, row_P, routing).add_(weights.b2_D)


def _ranks(routing: Routing) -> tuple[Tensor, Tensor]:
    """Each pair's place in an (E, T) table, and how many tokens of an expert come up to there.

    A counting sort: for the few experts of a layer it is faster than sorting the pairs.
    """
    flat_P = routing.expert_P * routing.tokens + routing.token_P
    table = torch.zeros(routing.experts * routing.tokens, dtype=torch.bool)
    table.index_fill_(0, flat_P, 1)
    return flat_P, table.view(routing.experts, -1).cumsum(1, dtype=torch.int32)


def _before(groups: Sequence[Group]) -> Tensor:
    """(E, 1) int32: the row before each expert's first."""
    firsts, row = [], -1
    for group in groups:
        firsts += [[row + number * group.rows] for number in range(len(group.experts))]
        row += len(group.experts) * group.rows
    return torch.tensor(firsts, dtype=torch.int32)


def _run_grouped(
    x_TD: Tensor, token_S: Tensor, size_E: Tensor, bank: Bank, weights: BankWeights
) -> Tensor:
    """The results (S, D) of all experts, whose rows stand one expert after the other."""
    ends_E = size_E.cumsum(0, dtype=torch.int32)
    expert_S = torch.arange(len(size_E)).repeat_interleave(size_E, output_size=len(token_S))
    x_SD = x_TD.index_select(0, token_S)
    h_SH = nn.functional.grouped_mm(x_SD, weights.w1_EHD.transpose(1, 2), offs=ends_E)
    h_SH = bank.activate(h_SH.add_(weights.b1_EH.index_select(0, expert_S)), expert_S)
    return nn.functional.grouped_mm(h_SH, weights.w2_EHD, offs=ends_E)


def _run_groups(
    x_TD: Tensor,
    token_S: Tensor,
    groups: Sequence[Group],
    bank: Bank,
    weights: BankWeights,
) -> Tensor:
    """The results (S, D) of all groups; `token_S` says which token each row is."""
    width, hidden = x_TD.shape[1], bank.hidden
    most = max(len(group.experts) * group.rows for group in groups)
    x_ND, h_NH = x_TD.new_empty(most, width), x_TD.new_empty(most, hidden)
    y_SD = _memory(len(token_S), width, x_TD.dtype)
    first = 0
    for group in groups:
        chosen, count = slice(group.experts.start, group.experts.stop), len(group.experts)
        last = first + count * group.rows
        if last == first:
            continue
        x_GND = torch.index_select(x_TD, 0, token_S[first:last], out=x_ND[: last - first])
        x_GND = x_GND.view(count, group.rows, width)
        h_GNH = h_NH[: last - first].view(count, group.rows, hidden)
        torch.baddbmm(
            weights.b1_EH[chosen, None], x_GND, weights.w1_EHD[chosen].transpose(1, 2), out=h_GNH
        )
        h_GNH = bank.activate(h_GNH, chosen)
        y_GND = y_SD[first:last].view(count, group.rows, width)
        torch.bmm(h_GNH, weights.w2_EHD[chosen], out=y_GND)
        first = last
    return y_SD


def _combine(y_SD: Tensor, row_P: Tensor, routing: Routing) -> Tensor:
    """Adds up the weighted rows of each token."""
    weight_P = routing.weight_P.to(y_SD.dtype)
    if routing.chosen is not None:
        first_T = torch.arange(0, len(row_P), routing.chosen)
    else:
        order_P = torch.argsort(routing.token_P, stable=True)
        row_P, weight_P = row_P[order_P], weight_P[order_P]
        count_T = torch.bincount(routing.token_P, minlength=routing.tokens)
        first_T = count_T.cumsum(0) - count_T
    bags = torch.embedding_bag(y_SD, row_P, first_T, mode=0, per_sample_weights=weight_P)
    return bags[0]


def _memory(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    """A (rows, width) tensor of any content; a large one is this thread's own and used again."""
    if rows * width * dtype.itemsize <= _FRESH_BYTES:
        return torch.empty(rows, width, dtype=dtype)
    kept: Tensor | None = _KEPT.__dict__.get(str(dtype))
    if kept is None or kept.numel() < rows * width:
        with torch.inference_mode(False):  # so that it may be written to in any mode
            kept = torch.empty(rows * width, dtype=dtype)
        _KEPT.__dict__[str(dtype)] = kept
    return kept[: rows * width].view(rows, width)
