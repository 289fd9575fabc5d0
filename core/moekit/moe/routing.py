"""The result of a gate: which expert computes which token, and with what weight.

Shapes: T tokens of the whole batch, E experts, K chosen, P token-expert
pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Routing:
    """Token-expert pairs. A token may have any number of experts, none included.

    Attributes:
        token_P: (P,) int64, rows of the flattened batch.
        expert_P: (P,) int64 in [0, experts).
        weight_P: (P,) float, what the expert's output is multiplied with.
        tokens: T.
        experts: E.
        chosen: K if the pairs stand token by token, K each; None if that is not known.
    """

    token_P: Tensor
    expert_P: Tensor
    weight_P: Tensor
    tokens: int
    experts: int
    chosen: int | None = None

    @classmethod
    def of_choices(cls, expert_TK: Tensor, weight_TK: Tensor, *, experts: int) -> Routing:
        """The routing in which every token has K experts.

        Args:
            expert_TK: (T, K) int64, the chosen experts of each token.
            weight_TK: (T, K) float, their weights.
            experts: How many experts there are to choose from.
        """
        tokens, chosen = expert_TK.shape
        token_T = torch.arange(tokens, device=expert_TK.device)
        return cls(
            token_P=token_T[:, None].expand(tokens, chosen).reshape(-1),
            expert_P=expert_TK.reshape(-1),
            weight_P=weight_TK.reshape(-1),
            tokens=tokens,
            experts=experts,
            chosen=chosen or None,
        )

    def parts(self, most: int) -> Iterator[tuple[int, Routing]]:
        """The routing cut into runs of tokens of about equal length, the first token of each.

        Args:
            most: Tokens of a part. A routing of unknown order stays whole.
        """
        if self.chosen is None or self.tokens <= most:
            yield 0, self
            return
        count = -(-self.tokens // most)
        expert_TK = self.expert_P.view(self.tokens, self.chosen)
        weight_TK = self.weight_P.view(self.tokens, self.chosen)
        first = 0
        for expert, weight in zip(
            expert_TK.tensor_split(count), weight_TK.tensor_split(count), strict=True
        ):
            yield first, Routing.of_choices(expert, weight, experts=self.experts)
            first += len(expert)

    def counts_E(self) -> Tensor:
        """(E,) int64: how many tokens each expert computes."""
        return torch.bincount(self.expert_P, minlength=self.experts)

    def counts_BE(self, images: int) -> Tensor:
        """(B, E) int64: how many tokens of each image an expert computes."""
        image_P = self.token_P // (self.tokens // images)
        flat = torch.bincount(
            image_P * self.experts + self.expert_P, minlength=images * self.experts
        )
        return flat.view(images, self.experts)

    def weight_TE(self) -> Tensor:
        """(T, E) float: the weights as a dense matrix, zero if a pair is absent."""
        if self.chosen is not None and is_traced():  # no scatter, which runtimes are slow at
            expert_TK1 = self.expert_P.view(-1, self.chosen, 1)
            is_chosen_TKE = expert_TK1 == torch.arange(self.experts, device=expert_TK1.device)
            weight_TK1 = self.weight_P.view(-1, self.chosen, 1)
            return (is_chosen_TKE.to(weight_TK1.dtype) * weight_TK1).sum(1)
        flat_P = self.token_P * self.experts + self.expert_P
        dense = self.weight_P.new_zeros(self.tokens * self.experts)
        return dense.index_add(0, flat_P, self.weight_P).view(self.tokens, self.experts)

    def restricted_to(self, experts: Sequence[int]) -> Routing:
        """The same routing less the pairs of all other experts."""
        wanted = torch.tensor(list(experts), dtype=torch.int64, device=self.expert_P.device)
        keep_P = torch.isin(self.expert_P, wanted)
        return Routing(
            token_P=self.token_P[keep_P],
            expert_P=self.expert_P[keep_P],
            weight_P=self.weight_P[keep_P],
            tokens=self.tokens,
            experts=self.experts,
        )


def is_traced() -> bool:
    """Whether the call is recorded as a graph, by `torch.export` or `torch.jit.trace`.

    Shapes and control flow must then depend on no data. A gate or an expert of a plugin that needs
    another form there asks `torch.compiler.is_exporting()`.
    """
    return torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None
