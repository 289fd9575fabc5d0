"""The bank of generic experts: the slices of one FFN.

Shapes: T tokens, D width, E experts, H hidden neurons an expert, F = E * H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
    """

    def __init__(
        self,
        *,
        w1_EHD: Tensor,
        b1_EH: Tensor,
        w2_EHD: Tensor,
        b2_D: Tensor,
        activation: nn.Module,
    ) -> None:
        super().__init__()
        self.w1_EHD = nn.Parameter(w1_EHD)
        self.b1_EH = nn.Parameter(b1_EH)
        self.w2_EHD = nn.Parameter(w2_EHD)
        self.b2_D = nn.Parameter(b2_D)
        self.activation = activation

    @property
    def experts(self) -> int:
        """E."""
        return self.w1_EHD.shape[0]

    @property
    def hidden(self) -> int:
        """H, the neurons of one expert."""
        return self.w1_EHD.shape[1]

    def all_experts(self, x: Tensor) -> Tensor:
        """The sum of all experts, computed as one dense FFN. (..., D) to (..., D)."""
        hidden = nn.functional.linear(x, self.w1_EHD.flatten(0, 1), self.b1_EH.flatten())
        w2_DF = self.w2_EHD.flatten(0, 1).T
        return nn.functional.linear(self.activation(hidden), w2_DF, self.b2_D)

    def one_expert(self, expert: int, x_TD: Tensor) -> Tensor:
        """One expert's output without the shared bias. (T, D) to (T, D)."""
        hidden = nn.functional.linear(x_TD, self.w1_EHD[expert], self.b1_EH[expert])
        return torch.mm(self.activation(hidden), self.w2_EHD[expert].to(hidden.dtype))
