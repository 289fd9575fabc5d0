"""What dispatch needs of a bank of experts.

Shapes: T tokens, D width, E experts, H hidden neurons an expert.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class BankWeights(NamedTuple):
    """The weights of a bank in one dtype; shapes as in `moekit.moe.experts.ExpertBank`."""

    w1_EHD: Tensor
    b1_EH: Tensor
    w2_EHD: Tensor
    b2_D: Tensor


class Bank(Protocol):
    """A bank of generic experts; see `moekit.moe.experts.ExpertBank` for each part."""

    w1_EHD: nn.Parameter
    b1_EH: nn.Parameter
    w2_EHD: nn.Parameter
    b2_D: nn.Parameter

    @property
    def experts(self) -> int:
        """E."""
        ...

    @property
    def hidden(self) -> int:
        """H, the neurons of one expert."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights."""
        ...

    def one_expert(self, expert: int, x_TD: Tensor) -> Tensor:
        """One expert's output without the shared bias."""
        ...

    def activate(self, hidden: Tensor, experts: int | slice | Tensor) -> Tensor:
        """The activation of some experts' neurons."""
        ...

    def activate_all(self, hidden_TEH: Tensor) -> Tensor:
        """The same of all experts' neurons, (T, E, H)."""
        ...

    def weights_in(self, dtype: torch.dtype) -> BankWeights:
        """The weights in a dtype, for use without gradients."""
        ...
