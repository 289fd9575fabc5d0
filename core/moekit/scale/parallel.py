"""Data and expert parallelism of a backbone on stock torch: DeviceMesh, FSDP2, all-to-all.

The mesh has two axes. Along `expert` the experts of each layer are spread and tokens travel to
them; along `data` each expert's weights are sharded once more. Every process has images of its own,
so everything but the experts is sharded over all processes: GShard's layout (Lepikhin et al. 2021,
arXiv:2006.16668) with fully sharded data parallelism (Zhao et al. 2023, arXiv:2304.11277) for ZeRO
(Rajbhandari et al. 2020, arXiv:1910.02054).

Shapes: E experts.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.parallel import parallelize_module

from moekit.backbone.block import MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.errors import UsageError
from moekit.moe.exchange import ExpertParallel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Meshes:
    """The processes, seen in two ways.

    Attributes:
        data_expert: Two-dimensional, with the axes `data` and `expert`; for the experts.
        everyone: All processes in one row, for everything else.
    """

    data_expert: DeviceMesh
    everyone: DeviceMesh

    @property
    def data(self) -> DeviceMesh:
        """The processes that hold the same experts as this one."""
        return self.data_expert["data"]

    @property
    def expert(self) -> DeviceMesh:
        """The processes among which the experts are spread."""
        return self.data_expert["expert"]


def make_meshes(device_type: str, *, data: int, expert: int) -> Meshes:
    """The meshes of this job; starts the process group if nothing has.

    Args:
        device_type: "cpu" or "cuda".
        data: Length of the data axis.
        expert: Length of the expert axis; neighbours in rank, so that tokens stay within a machine.

    Raises:
        UsageError: `data * expert` is not the number of processes.
    """
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    processes = dist.get_world_size()
    if min(data, expert) < 1 or data * expert != processes:
        raise UsageError(
            f"a mesh of {data} x {expert} does not fit {processes} processes",
            whose="the mesh",
            fix="choose data and expert so that their product is the number of processes",
            code="usage/not-divisible",
        )
    return Meshes(
        data_expert=init_device_mesh(
            device_type, (data, expert), mesh_dim_names=("data", "expert")
        ),
        everyone=init_device_mesh(device_type, (processes,), mesh_dim_names=("everyone",)),
    )


def parallelise(
    backbone: MoEBackbone, meshes: Meshes, *, dtype: torch.dtype | None = None
) -> MoEBackbone:
    """Spreads a backbone over the processes, in place. All must hold the same weights before.

    The loss of a process is the mean over its own images; the gradients are then those of the mean
    over all processes.

    Args:
        backbone: On its device, with the parameters that are to be trained requiring gradients.
        meshes: Made by `make_meshes`.
        dtype: In which blocks compute; gradients are summed in float32. None: as the weights are.

    Returns:
        The same backbone; its parameters are `DTensor`s. Call it as ever.

    Raises:
        UsageError: The experts do not divide over the expert axis.
    """
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32 if dtype else None)
    for module in backbone.blocks:
        block = cast(MoEBlock, module)
        parallelize_module(block.moe, meshes.expert, ExpertParallel(average=True))
        bank = block.moe.bank
        rows = meshes.data.size()
        fully_shard(
            bank,
            mesh=meshes.data,
            mp_policy=policy,
            shard_placement_fn=functools.partial(_shard_of, rows=rows),
        )
        fully_shard(block, mesh=meshes.everyone, mp_policy=policy)
    fully_shard(backbone, mesh=meshes.everyone, mp_policy=policy)
    for module in backbone.modules():
        if isinstance(module, FSDPModule):  # Not every backend has a mean.
            module.set_force_sum_reduction_for_comms(True)
    return backbone


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """The trainable parameters, one group a mesh, as an optimiser on many tensors at once needs."""
    groups: dict[DeviceMesh | None, list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            mesh = parameter.device_mesh if isinstance(parameter, DTensor) else None
            groups.setdefault(mesh, []).append(parameter)
    return [{"params": group} for group in groups.values()]


@torch.no_grad()
def clip_gradients(module: nn.Module, largest: float) -> float:
    """Scales all gradients so that their common norm is at most `largest`.

    Args:
        module: A parallelised one; all processes call together.
        largest: Greatest L2 norm.

    Returns:
        The norm before. It is that of the whole model, whichever mesh a parameter lies on.
    """
    gradients = [value.grad for value in module.parameters() if value.grad is not None]
    squares = torch.stack([_own_square(gradient) for gradient in gradients]).sum()
    dist.all_reduce(squares)
    total = float(squares.sqrt())
    if total > largest:
        for gradient in gradients:
            gradient.mul_(largest / total)
    return total


@torch.no_grad()
def balance_routers(backbone: MoEBackbone, counts: dict[int, Tensor], *, rate: float) -> None:
    """`Router.balance` of each block by the tokens that all processes together sent to its experts.

    Args:
        backbone: A parallelised one; all processes call together.
        counts: By block, (E,) the tokens that this process sent to each expert in the step.
        rate: The size of the step.
    """
    for index in sorted(counts):
        counts_E = counts[index].clone()
        dist.all_reduce(counts_E)
        cast(MoEBlock, backbone.blocks[index]).moe.router.balance(counts_E, rate=rate)


def _own_square(gradient: Tensor) -> Tensor:
    """This process's part of a gradient's squared norm; the parts of all processes add up to it."""
    if not isinstance(gradient, DTensor):
        return gradient.float().square().sum() / dist.get_world_size()
    axes = zip(gradient.placements, gradient.device_mesh.shape, strict=True)
    copies = math.prod(size for placement, size in axes if placement.is_replicate())
    return gradient.to_local().float().square().sum() / copies


def _shard_of(parameter: nn.Parameter, rows: int) -> Shard | None:
    """The axis that the data axis of the mesh cuts: that after the experts, if it divides."""
    if parameter.ndim > 1 and parameter.shape[1] % rows == 0:
        return Shard(1)
    return None
