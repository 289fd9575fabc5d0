"""The bank of generic experts: the slices of one FFN.

Shapes: T tokens, D width, E experts, H hidden neurons an expert, F = E * H.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from moekit.moe.bank import BankWeights
from moekit.moe.dispatch import run_bank
from moekit.moe.routing import Routing
from moekit.moe.stand_in import beyond_stand_in


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
        self._cast: _Cast | None = None

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
        hidden = nn.functional.linear(x_TD, self.w1_EHD[expert], self.b1_EH[expert])
        return torch.mm(self.activate(hidden, expert), self.w2_EHD[expert].to(hidden.dtype))

    def activate(self, hidden: Tensor, experts: int | slice | Tensor) -> Tensor:
        """The activation of some experts' neurons, less their stand-ins if they have any.

        Args:
            hidden: The neurons before it; with gradients off they may be overwritten. (n, H) of one
                expert, (g, n, H) of g experts, or (n, H) of which each row has its own.
            experts: Accordingly the number of the one, the slice of the g, or (n,) int64.
        """
        if self.slope_EH is not None and self.offset_EH is not None:
            slope, offset = self.slope_EH[experts], self.offset_EH[experts]
            if hidden.ndim == 3:
                slope, offset = slope[:, None], offset[:, None]
            return beyond_stand_in(self.activation(hidden), hidden, slope, offset)
        if type(self.activation) is nn.GELU and not torch.is_grad_enabled():
            torch.ops.aten.gelu_(hidden, approximate=self.activation.approximate)
            return hidden
        activated: Tensor = self.activation(hidden)
        return activated

    def activate_all(self, hidden_TEH: Tensor) -> Tensor:
        """The same of all experts' neurons, (T, E, H)."""
        if self.slope_EH is None or self.offset_EH is None:
            activated: Tensor = self.activation(hidden_TEH)
            return activated
        active_TEH = self.activation(hidden_TEH)
        return beyond_stand_in(active_TEH, hidden_TEH, self.slope_EH, self.offset_EH)

    @torch.no_grad()
    def weights_in(self, dtype: torch.dtype) -> BankWeights:
        """The weights in a dtype, for use without gradients.

        In another dtype than their own, frozen weights are converted once and kept until one of
        them changes. Torch counts changes in place, except those through `tensor.data`: change
        weights under `torch.no_grad()` instead. Weights that are trained are converted each time.
        """
        own = BankWeights(self.w1_EHD, self.b1_EH, self.w2_EHD, self.b2_D)
        if all(weight.dtype == dtype for weight in own):
            return own
        if self._cast is not None and self._cast.is_of(own, dtype):
            return self._cast.weights
        self._cast = None
        with torch.inference_mode(False):
            cast = BankWeights(*(weight.detach().to(dtype) for weight in own))
        if not any(weight.requires_grad or weight.is_inference() for weight in own):
            self._cast = _Cast(own=own, states=_states(own), dtype=dtype, weights=cast)
        return cast


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cast:
    """Weights converted to another dtype, and what they were converted from."""

    own: BankWeights
    states: list[tuple[int, int]]
    dtype: torch.dtype
    weights: BankWeights

    def is_of(self, own: BankWeights, dtype: torch.dtype) -> bool:
        same = all(now is then for now, then in zip(own, self.own, strict=True))
        return same and dtype == self.dtype and _states(own) == self.states


def _states(weights: BankWeights) -> list[tuple[int, int]]:
    """Where the weights lie, and how often each was written to."""
    return [(weight.data_ptr(), weight._version) for weight in weights]
