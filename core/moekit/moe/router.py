"""The router: scores tokens against experts.

Shapes: B images, N tokens, D width, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Router(nn.Module):
    """A linear map from tokens to one score an expert, and the bias that balances the load.

    Args:
        width: D.
        experts: E.

    Attributes:
        weight_ED: (E, D) one row an expert, zero at the start: all experts score alike.
        bias_E: (E,) buffer, added for the choice of experts only; see `balance`.
    """

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.weight_ED = nn.Parameter(torch.zeros(experts, width))
        self.bias_E: Tensor
        self.register_buffer("bias_E", torch.zeros(experts))

    def forward(self, x_BND: Tensor) -> Tensor:
        """Scores (B, N, E), always in float32: rounding must not decide which expert runs."""
        if not torch.is_autocast_enabled(x_BND.device.type):
            return nn.functional.linear(x_BND.float(), self.weight_ED.float())
        with torch.autocast(x_BND.device.type, enabled=False):
            return nn.functional.linear(x_BND.float(), self.weight_ED.float())

    @torch.no_grad()
    def balance(self, counts_E: Tensor, *, rate: float) -> None:
        """Moves the bias of overloaded experts down and of underloaded ones up by `rate`.

        Wang et al. 2024 (arXiv:2408.15664), equation 3: the sign of the load error, once a step.

        Args:
            counts_E: (E,) tokens that each expert computed in the step.
            rate: The size of the step, in units of the gate's affinity.
        """
        load_E = counts_E.to(self.bias_E)
        self.bias_E += rate * torch.sign(load_E.mean() - load_E)
