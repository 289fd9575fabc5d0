"""The neurons of one FFN, and what they do on real tokens.

Shapes: T tokens, D width, F hidden neurons, E experts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from moekit.moe.experts import ExpertBank
from moekit.moe.stand_in import beyond_stand_in


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neurons:
    """The weights of one FFN, a row a neuron.

    Attributes:
        w1_FD: (F, D) input weights.
        b1_F: (F,) their biases.
        w2_FD: (F, D) output weights.
        activation: Elementwise.
    """

    w1_FD: Tensor
    b1_F: Tensor
    w2_FD: Tensor
    activation: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, bank: ExpertBank) -> Neurons:
        """The neurons of a bank, in its order."""
        return cls(
            w1_FD=bank.w1_EHD.detach().flatten(0, 1),
            b1_F=bank.b1_EH.detach().flatten(),
            w2_FD=bank.w2_EHD.detach().flatten(0, 1),
            activation=bank.activation,
        )

    def cpu(self) -> Neurons:
        """The same on the CPU in float32."""
        return dataclasses.replace(
            self,
            w1_FD=self.w1_FD.float().cpu(),
            b1_F=self.b1_F.float().cpu(),
            w2_FD=self.w2_FD.float().cpu(),
        )

    @property
    def reach_F(self) -> Tensor:
        """(F,) the length of each neuron's output weights."""
        reach_F: Tensor = self.w2_FD.norm(dim=1)
        return reach_F

    def before(self, x_TD: Tensor) -> Tensor:
        """(T, F) pre-activations."""
        return torch.addmm(self.b1_F, x_TD, self.w1_FD.T)

    def stand_in(self, slope_F: Tensor, offset_F: Tensor) -> tuple[Tensor, Tensor]:
        """The affine map that all stand-ins together are.

        Returns:
            (D, D) weights and (D,) bias: `x @ weights.T + bias`.
        """
        weights_DD = self.w2_FD.T @ (slope_F[:, None] * self.w1_FD)
        return weights_DD, self.w2_FD.T @ (slope_F * self.b1_F + offset_F)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Excess:
    """What neurons give beyond their stand-ins, on the tokens of a sample.

    Attributes:
        excess_TF: (T, F) activation less stand-in.
        slope_F: (F,) of the stand-ins.
        offset_F: (F,).
    """

    excess_TF: Tensor
    slope_F: Tensor
    offset_F: Tensor

    @classmethod
    def of(cls, neurons: Neurons, x_TD: Tensor, slope_F: Tensor, offset_F: Tensor) -> Excess:
        """That of given stand-ins on (T, D) inputs of the FFN."""
        before_TF = neurons.before(x_TD)
        active_TF = neurons.activation(before_TF)
        return cls(
            excess_TF=beyond_stand_in(active_TF, before_TF, slope_F, offset_F),
            slope_F=slope_F,
            offset_F=offset_F,
        )

    def energies_TE(self, neurons: Neurons, cluster_F: Tensor, experts: int) -> Tensor:
        """(T, E) the length of what each expert adds to a token's output."""
        parts = []
        for expert in range(experts):
            mine = cluster_F == expert
            parts.append((self.excess_TF[:, mine] @ neurons.w2_FD[mine]).norm(dim=1))
        return torch.stack(parts, dim=1)


def excess_over(kind: str, neurons: Neurons, x_TD: Tensor) -> Excess:
    """Fits a stand-in of each neuron to a sample.

    Args:
        kind: `none`: zero. `mean`: the neuron's mean activation. `linear`: the affine function of
            its own pre-activation with the least squared error.
        neurons: The FFN.
        x_TD: (T, D) inputs of the FFN.
    """
    before_TF = neurons.before(x_TD)
    after_TF = neurons.activation(before_TF)
    slope_F = torch.zeros_like(neurons.b1_F)
    offset_F = torch.zeros_like(slope_F)
    if kind == "mean":
        offset_F = after_TF.mean(0)
    if kind == "linear":
        centred_TF = before_TF - before_TF.mean(0)
        slope_F = (centred_TF * after_TF).mean(0) / centred_TF.square().mean(0).clamp_min(1e-12)
        offset_F = after_TF.mean(0) - slope_F * before_TF.mean(0)
    excess_TF = beyond_stand_in(after_TF, before_TF, slope_F, offset_F)
    return Excess(excess_TF=excess_TF, slope_F=slope_F, offset_F=offset_F)
