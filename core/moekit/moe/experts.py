"""The bank of generic experts: the slices of one FFN.

Shapes: T tokens, D width, E experts, H hidden neurons an expert, F = E * H.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from moekit.moe.dispatch import run_bank
from moekit.moe.routing import Routing


class ExpertBank(nn.Module):
    """E two-layer experts of equal size with one shared output bias.

    An expert e computes `act(x @ w1[e].T + b1[e]) @ w2[e]`; the bias `b2_D` is added once a token,
    whichever experts ran, so that the sum over all experts is the dense FFN.

    Args:
        w1_EHD: (E, H, D) first layers.
        b1_EH: (E, H) their biases.
        w2_EHD: (E, H, D) second layers, one row a hidden neuron.
        b2_D: (D,) shared output bias.
        activation: Elementwise.
        slope_EH: (E, H) slopes of the neurons' stand-ins, or None for no stand-ins.
        offset_EH: (E, H) their offsets, or None.

    Attributes:
        dispatch: Runs the chosen experts: (tokens (T, D), routing, bank) to (T, D). `run_bank`,
            unless the experts lie in several processes (`moekit.moe.exchange`).
    """

    def __init__(
        self,
        *,
        w1_EHD: Tensor,
        b1_EH: Tensor,
        w2_EHD: Tensor,
        b2_D: Tensor,
        activation: nn.Module,
        slope_EH: Tensor | None = None,
        offset_EH: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.w1_EHD = nn.Parameter(w1_EHD)
        self.b1_EH = nn.Parameter(b1_EH)
        self.w2_EHD = nn.Parameter(w2_EHD)
        self.b2_D = nn.Parameter(b2_D)
        self.activation = activation
        self.slope_EH = None if slope_EH is None else nn.Parameter(slope_EH)
        self.offset_EH = None if offset_EH is None else nn.Parameter(offset_EH)
        self.dispatch: Callable[[Tensor, Routing, ExpertBank], Tensor] = run_bank

    @property
    def experts(self) -> int:
        """E."""
        return self.w1_EHD.shape[0]

    @property
    def hidden(self) -> int:
        """H, the neurons of one expert."""
        return self.w1_EHD.shape[1]

    @property
    def is_whole(self) -> bool:
        """Whether all experts lie in this process."""
        return self.dispatch is run_bank

    def forward(self, x_TD: Tensor, routing: Routing) -> Tensor:
        """The weighted sum of each token's experts and the shared bias. (T, D) to (T, D)."""
        return self.dispatch(x_TD, routing, self)

    def all_experts(self, x: Tensor) -> Tensor:
        """The sum of all experts, computed as one dense FFN. (..., D) to (..., D)."""
        hidden = nn.functional.linear(x, self.w1_EHD.flatten(0, 1), self.b1_EH.flatten())
        w2_DF = self.w2_EHD.flatten(0, 1).T
        return nn.functional.linear(self.activation(hidden), w2_DF, self.b2_D)

    def one_expert(self, expert: int, x_TD: Tensor) -> Tensor:
        """One expert's output without the shared bias. (T, D) to (T, D)."""
        hidden_TH = nn.functional.linear(x_TD, self.w1_EHD[expert], self.b1_EH[expert])
        excess_TH = self.excess(expert, hidden_TH)
        return torch.mm(excess_TH, self.w2_EHD[expert].to(hidden_TH.dtype))

    def excess(self, expert: int | Tensor, hidden_TH: Tensor) -> Tensor:
        """What neurons put out beyond their stand-ins; all of it where they have none.

        Args:
            expert: The expert, or (T,) int64 the expert of each row.
            hidden_TH: (T, H) pre-activations.
        """
        active_TH: Tensor = self.activation(hidden_TH)
        if self.slope_EH is None or self.offset_EH is None:
            return active_TH
        slope_TH = self.slope_EH[expert].to(hidden_TH.dtype)
        offset_TH = self.offset_EH[expert].to(hidden_TH.dtype)
        return torch.addcmul(active_TH - offset_TH, hidden_TH, slope_TH, value=-1)
