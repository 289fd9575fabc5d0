"""What stands in for the experts that a token does not have: one affine map for all of them.

Shapes: D width, E experts, R rank of the correction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def beyond_stand_in(active: Tensor, hidden: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """What neurons give beyond their stand-ins: `active - (slope * hidden + offset)`.

    Args:
        active: (..., H) activations. With gradients off they may be overwritten.
        hidden: (..., H) pre-activations.
        slope: (H,) or what broadcasts to them.
        offset: As `slope`.
    """
    slope, offset = slope.to(hidden.dtype), offset.to(hidden.dtype)
    if torch.is_grad_enabled():
        return active - offset - slope * hidden
    return active.sub_(offset).addcmul_(hidden, slope, value=-1)


class StandIn(nn.Module):
    """`x @ (base + strength[k] * up @ down).T + base bias + strength[k] * bias`.

    The base is the sum of all neurons' affine stand-ins; a chosen expert adds what its neurons give
    beyond theirs (`ExpertBank.excess`). The correction is fitted to what the experts left out would
    have added, so its strength falls with k and is 0 if all are chosen.

    Args:
        base_DD: (D, D) weights of the stand-ins together.
        base_D: (D,) their bias.
        down_RD: (R, D) first factor of the correction.
        up_DR: (D, R) second factor.
        bias_D: (D,) its bias.
        strength_E: (E,) its weight at top_k = 1 to E.
    """

    def __init__(
        self,
        *,
        base_DD: Tensor,
        base_D: Tensor,
        down_RD: Tensor,
        up_DR: Tensor,
        bias_D: Tensor,
        strength_E: Tensor,
    ) -> None:
        super().__init__()
        self.base_DD: Tensor
        self.base_D: Tensor
        self.register_buffer("base_DD", base_DD)
        self.register_buffer("base_D", base_D)
        self.down_RD = nn.Parameter(down_RD)
        self.up_DR = nn.Parameter(up_DR)
        self.bias_D = nn.Parameter(bias_D)
        self.strength_E = nn.Parameter(strength_E)
        self._merged: tuple[tuple[int, torch.device, torch.dtype], Tensor, Tensor] | None = None

    def forward(self, x_BND: Tensor, *, top_k: int) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        return nn.functional.linear(x_BND, *self._weights(top_k))

    def forget(self) -> None:
        """Drops the merged map; call it after changing a parameter in place."""
        self._merged = None

    def _weights(self, top_k: int) -> tuple[Tensor, Tensor]:
        """The merged map; kept from call to call as long as nothing trains it."""
        if torch.is_grad_enabled() and self.down_RD.requires_grad:
            self._merged = None
            return self._merge(top_k)
        key = (top_k, self.base_DD.device, self.base_DD.dtype)
        if self._merged is None or self._merged[0] != key:
            # Kept for calls of any mode: a tensor of the inference mode would fail in a training.
            with torch.inference_mode(False), torch.no_grad():
                weights_DD, bias_D = self._merge(top_k)
            self._merged = (key, weights_DD, bias_D)
        return self._merged[1], self._merged[2]

    def _merge(self, top_k: int) -> tuple[Tensor, Tensor]:
        strength = self.strength_E[top_k - 1]
        weights_DD = self.base_DD + strength * (self.up_DR @ self.down_RD)
        return weights_DD, self.base_D + strength * self.bias_D
