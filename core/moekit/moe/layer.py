"""One MoE layer: router, gate, experts, in the place of a block's FFN.

Shapes: B images, N tokens, D width, E experts.
"""

from __future__ import annotations

from torch import Tensor, nn

from moekit.moe.experts import ExpertBank
from moekit.moe.gates import Gate
from moekit.moe.router import Router
from moekit.moe.stand_in import StandIn
from moekit.moe.stats import RoutingTrace


class MoELayer(nn.Module):
    """Computes, for each token, the experts that its router and gate choose.

    Args:
        router: Scores tokens against the bank's experts.
        gate: Turns scores into choices.
        bank: The experts.
        stand_in: What stands in for the experts that a token does not have; None for nothing.
    """

    def __init__(
        self, *, router: Router, gate: Gate, bank: ExpertBank, stand_in: StandIn | None = None
    ) -> None:
        super().__init__()
        self.router = router
        self.gate = gate
        self.bank = bank
        self.stand_in = stand_in

    def forward(
        self, x_BND: Tensor, *, top_k: int, trace: RoutingTrace | None = None, block: int = 0
    ) -> Tensor:
        """(B, N, D) to (B, N, D).

        Args:
            x_BND: Normalised tokens.
            top_k: Experts a token has, 1 to E. With E and a gate of unit weights the layer is the
                dense FFN and runs as such if all experts lie in this process.
            trace: Collects the routing if one is given.
            block: The number under which the trace files it.

        Raises:
            UsageError: `top_k` is out of range.
        """
        exact = top_k == self.bank.experts and self.gate.unit_weights and self.bank.is_whole
        if exact and trace is None:
            return self.bank.all_experts(x_BND)
        scores_BNE = self.router(x_BND)
        routing = self.gate(scores_BNE, k=top_k, bias_E=self.router.bias_E)
        if trace is not None:
            trace.add(block=block, kit=None, routing=routing, scores_BNE=scores_BNE)
        if exact:
            return self.bank.all_experts(x_BND)
        output_TD: Tensor = self.bank(x_BND.flatten(0, 1), routing)
        y_BND = output_TD.view_as(x_BND)
        return y_BND if self.stand_in is None else y_BND + self.stand_in(x_BND, top_k=top_k)
