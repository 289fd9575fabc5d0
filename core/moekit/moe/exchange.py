"""Expert parallelism: the experts of a bank lie in several processes, tokens travel to them.

Each process holds E / R of the experts and scores its own tokens. Pairs are sorted by expert, sent
to the process that holds the expert (all-to-all), computed there, sent back and added up where they
came from: GShard (Lepikhin et al. 2021, arXiv:2006.16668). No capacity is set, so no token is
dropped: how many rows travel is agreed on first.

Shapes: T tokens of this process, D width, E experts, P token-expert pairs of this process, R
processes, L = E / R experts of this process, Q rows received.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Placement,
    Replicate,
    Shard,
    distribute_tensor,
)
from torch.distributed.tensor.parallel import ParallelStyle

from moekit.errors import UsageError
from moekit.moe.dispatch import run_bank
from moekit.moe.experts import ExpertBank
from moekit.moe.layer import MoELayer
from moekit.moe.routing import Routing

_SHARED_BIAS = "b2_D"


class ExpertParallel(ParallelStyle):
    """Spreads the experts of an `MoELayer` over a one-dimensional mesh; the layer stays the same.

    Parameters whose first axis is the experts (names that end in a shape of `E...`) become
    `DTensor`s that are sharded on it, all others of the bank are replicated. The router is left
    alone: each process scores its own tokens against all experts.

    Used as `torch.distributed.tensor.parallel.parallelize_module(layer, mesh, ExpertParallel())`.

    Args:
        average: What the gradient of a parameter of the bank is. False: the sum over all processes
            of the mesh, as if one process had computed all tokens. True: their mean, as data
            parallelism has it.
    """

    def __init__(self, *, average: bool = False) -> None:
        self.average = average

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        if not isinstance(module, MoELayer):
            raise UsageError(
                f"a {type(module).__name__} has no experts to spread",
                whose="ExpertParallel",
                fix="apply it to a MoELayer",
                code="usage/no-experts",
            )
        bank, processes = module.bank, device_mesh.size()
        if bank.experts % processes:
            raise UsageError(
                f"{bank.experts} experts do not divide into {processes} equal parts",
                whose="the expert axis of the mesh",
                fix="choose a number of processes that divides the number of experts",
                code="usage/not-divisible",
            )
        for name, parameter in list(bank.named_parameters()):
            owner = bank.get_submodule(name.rpartition(".")[0])
            local = name.rpartition(".")[2]
            placement = Shard(0) if _is_per_expert(local) else Replicate()
            spread = distribute_tensor(
                parameter.detach(), device_mesh, [placement], src_data_rank=self.src_data_rank
            )
            owner.register_parameter(
                local, nn.Parameter(spread, requires_grad=parameter.requires_grad)
            )
        bank.dispatch = Exchange(device_mesh, share=1 / processes if self.average else 1.0)
        return module


@dataclasses.dataclass(frozen=True)
class Exchange:
    """The dispatch of a bank whose experts are spread over a mesh. See `run_bank`.

    Attributes:
        mesh: The one-dimensional mesh. All its processes must call together, forward and backward;
            their numbers of tokens may differ and may be zero.
        share: What the gradients of the bank's parameters are multiplied with.
    """

    mesh: DeviceMesh
    share: float = 1.0

    def __call__(self, x_TD: Tensor, routing: Routing, bank: ExpertBank) -> Tensor:
        """(T, D) tokens of this process to (T, D)."""
        order_P = torch.argsort(routing.expert_P, stable=True)
        token_P = routing.token_P[order_P]
        sent_E = routing.counts_E()
        received_RL = self._swap_counts(sent_E)
        sent = sent_E.view(self.mesh.size(), -1).sum(1).tolist()
        received = received_RL.sum(1).tolist()
        group = self.mesh.get_group()
        x_QD = _Swap.apply(x_TD[token_P], sent, received, group)
        lent = {name: self._local(value) for name, value in bank.named_parameters()}
        y_PD = _Swap.apply(_compute(x_QD, received_RL, bank, lent), received, sent, group)
        y_PD = y_PD * routing.weight_P[order_P, None].to(x_TD.dtype)
        y_TD = torch.zeros_like(x_TD).index_add(0, token_P, y_PD)
        return y_TD + lent[_SHARED_BIAS].to(x_TD.dtype)

    def _swap_counts(self, sent_E: Tensor) -> Tensor:
        """(R, L) how many rows each process sends to each expert of this one."""
        received_E = torch.empty_like(sent_E)
        dist.all_to_all_single(received_E, sent_E, group=self.mesh.get_group())
        return received_E.view(self.mesh.size(), -1)

    def _local(self, value: Tensor) -> Tensor:
        """The part of a parameter that lies here, with its gradient's way back.

        Each process sees its own tokens only, so the gradient of a replicated parameter is a part
        of the sum.
        """
        if isinstance(value, DTensor):
            placements: list[Placement] = [
                Partial() if isinstance(placement, Replicate) else placement
                for placement in value.placements
            ]
            value = value.to_local(grad_placements=placements)
        return value if self.share == 1 else cast(Tensor, _Share.apply(value, self.share))


class _Swap(torch.autograd.Function):
    """All-to-all of rows; the gradients travel the other way."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup
    ) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return _swap(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _swap(gradients[0], ctx.received, ctx.sent, ctx.group), None, None, None


def _swap(rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    output = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(output, rows.contiguous(), received, sent, group=group)
    return output


class _Share(torch.autograd.Function):
    """The value itself; its gradient multiplied with a number."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, share: float) -> Tensor:
        ctx.share = share
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.share, None


class _OnBank(nn.Module):
    """Calls `run_bank` as a module, so that `functional_call` can lend it other parameters."""

    def __init__(self, bank: ExpertBank) -> None:
        super().__init__()
        self.bank = bank

    def forward(self, x_QD: Tensor, routing: Routing) -> Tensor:
        return run_bank(x_QD, routing, self.bank)


def _compute(
    x_QD: Tensor, received_RL: Tensor, bank: ExpertBank, parameters: Mapping[str, Tensor]
) -> Tensor:
    """This process's experts on the rows that it received, unweighted and without shared bias."""
    if not len(x_QD):
        # Other processes wait for this one in the backward pass: all parameters stay in the graph.
        nothing = torch.stack([value.sum() * 0 for value in parameters.values()]).sum()
        return x_QD + nothing.to(x_QD.dtype)
    lent = {f"bank.{name}": value for name, value in parameters.items()}
    lent[f"bank.{_SHARED_BIAS}"] = torch.zeros_like(parameters[_SHARED_BIAS])
    expert_L = torch.arange(received_RL.shape[1], device=x_QD.device)
    expert_Q = expert_L.repeat(len(received_RL)).repeat_interleave(received_RL.flatten())
    routing = Routing(
        token_P=torch.arange(len(x_QD), device=x_QD.device),
        expert_P=expert_Q,
        weight_P=torch.ones(len(x_QD), dtype=x_QD.dtype, device=x_QD.device),
        tokens=len(x_QD),
        experts=len(expert_L),
    )
    return cast(Tensor, torch.func.functional_call(_OnBank(bank), lent, (x_QD, routing)))


def _is_per_expert(name: str) -> bool:
    return name.rpartition("_")[2].startswith("E")
