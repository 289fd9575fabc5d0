"""Compares many processes with one and writes the greatest differences as JSON.

`parity_in_processes.py FOLDER PROCESSES...` starts each number of processes in turn, by forking,
which spares them the imports.

Shapes: B images, N tokens, D width, E experts, H hidden.
"""

from __future__ import annotations

import copy
import json
import os
import socket
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import parallelize_module
from torch.multiprocessing import start_processes
from twin_training import train_twin

import moekit
from moekit.moe.exchange import ExpertParallel
from moekit.moe.experts import ExpertBank
from moekit.moe.layer import MoELayer
from moekit.moe.router import Router
from moekit.scale.checkpoint import load_sharded, save_sharded
from moekit.scale.parallel import (
    balance_routers,
    clip_gradients,
    make_meshes,
    parallelise,
    parameter_groups,
)
from moekit.scale.tier import Tier

D, E, H = 16, 8, 12
SHALLOW = Tier().twin().model_copy(update={"blocks": 6})
# Images and tokens of each process, gate, chosen experts, whether one half of the experts starves.
LAYERS = {
    "even": ((2, 2), 9, moekit.TopKSoftmax(), 2, False),
    "uneven": ((3, 1), 7, moekit.TopKSigmoid(), 3, False),
    "a process without images": ((0, 2), 5, moekit.TopKSoftmax(), 2, False),
    "experts without tokens": ((2, 1), 6, moekit.TopKSoftmax(), 2, True),
    "unit weights": ((1, 2), 6, moekit.UnitTopK(), 2, False),
    "all experts": ((1, 2), 6, moekit.UnitTopK(), E, False),
    "expert choice": ((2, 1), 10, moekit.ExpertChoice(), 2, False),
}


def make_layer(gate: moekit.Gate, starve: bool) -> MoELayer:
    numbers = torch.Generator().manual_seed(0)
    bank = ExpertBank(
        w1_EHD=torch.randn(E, H, D, generator=numbers) / 4,
        b1_EH=torch.randn(E, H, generator=numbers),
        w2_EHD=torch.randn(E, H, D, generator=numbers) / 4,
        b2_D=torch.randn(D, generator=numbers),
        activation=nn.GELU(),
    )
    layer = MoELayer(router=Router(D, E), gate=gate, bank=bank)
    nn.init.normal_(layer.router.weight_ED, generator=numbers)
    if starve:
        layer.router.bias_E[E // 2 :] = -1000
    return layer


def make_backbone(gate: moekit.Gate | None = None) -> moekit.MoEBackbone:
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=0
    )
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.2)
    provenance = moekit.Provenance(
        architecture="tests", source="-", origin="-", sha256="0" * 64, licence="-", note="-"
    )
    gate = gate or moekit.TopKSoftmax()
    half = (0.5, 0.5, 0.5)
    backbone = moekit.carve(
        vit, provenance=provenance, mean=half, std=half, experts=E, top_k=2, gate=gate
    )
    for block in backbone.blocks:
        nn.init.normal_(block.moe.router.weight_ED)
    return backbone.requires_grad_(True)


def whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def scalar(output: Tensor) -> Tensor:
    return (output * torch.linspace(-1, 1, output.shape[-1])).square().sum() / 10


def furthest(found: Tensor, expected: Tensor) -> float:
    """The greatest difference in any process, relative to the greatest value if that exceeds 1."""
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    gap = (found - expected).abs().max() / scale if expected.numel() else torch.zeros(())
    assert found.shape == expected.shape
    dist.all_reduce(gap, op=dist.ReduceOp.MAX)
    return float(gap)


def compare_layer(name: str) -> dict[str, float]:
    images, tokens, gate, top_k, starve = LAYERS[name]
    numbers = torch.Generator().manual_seed(1)
    inputs = [torch.randn(count, tokens, D, generator=numbers) for count in images]
    alone, rank = make_layer(gate, starve), dist.get_rank()
    spread = parallelize_module(
        copy.deepcopy(alone), make_meshes("cpu", data=1, expert=2).expert, ExpertParallel()
    )
    x_own = inputs[rank].clone().requires_grad_()
    y_own = spread(x_own, top_k=top_k)
    scalar(y_own).backward()
    expected = [x_BND.clone().requires_grad_() for x_BND in inputs]
    outputs = [alone(x_BND, top_k=top_k) for x_BND in expected if len(x_BND)]
    sum(scalar(output) for output in outputs).backward()
    result = {
        "inputs": furthest(x_own.grad, expected[rank].grad if images[rank] else x_own.detach())
    }
    y_alone = alone(inputs[rank], top_k=top_k) if images[rank] else x_own
    result["outputs"] = furthest(y_own.detach(), y_alone.detach())
    if gate.unit_weights:
        assert spread.router.weight_ED.grad is None
    else:
        router = spread.router.weight_ED.grad
        dist.all_reduce(router)
        result["router"] = furthest(router, alone.router.weight_ED.grad)
    pairs = zip(spread.bank.named_parameters(), alone.bank.parameters(), strict=True)
    for (parameter, found), wanted in pairs:
        result[parameter] = furthest(whole(found.grad), wanted.grad)
    return result


def images_of(rank: int) -> Tensor:
    """Images of one process; their number differs from process to process."""
    return torch.randn(1 + rank % 2, 3, 16, 16, generator=torch.Generator().manual_seed(rank))


def compare_backbone(data: int, expert: int) -> dict[str, float]:
    """Outputs, gradients and the weights after two steps of AdamW."""
    alone = make_backbone()
    spread = parallelise(make_backbone(), make_meshes("cpu", data=data, expert=expert))
    one = torch.optim.AdamW(alone.parameters(), lr=1e-3, eps=1e-3)
    many = torch.optim.AdamW(parameter_groups(spread), lr=1e-3, eps=1e-3)
    result: dict[str, float] = {}
    for _ in range(2):
        own = spread(images_of(dist.get_rank())).final_BND
        scalar(own).backward()
        expected = [alone(images_of(rank)).final_BND for rank in range(dist.get_world_size())]
        (sum(scalar(output) for output in expected) / len(expected)).backward()
        result["outputs"] = furthest(own.detach(), expected[dist.get_rank()].detach())
        pairs = list(zip(spread.named_parameters(), alone.parameters(), strict=True))
        result["gradients"] = max(furthest(whole(a.grad), b.grad) for (_, a), b in pairs)
        norm, wanted = (
            clip_gradients(spread, 0.5),
            nn.utils.clip_grad_norm_(alone.parameters(), 0.5),
        )
        result["norm"] = abs(norm / float(wanted) - 1)
        one.step(), many.step(), one.zero_grad(), many.zero_grad()
    result["weights"] = max(furthest(whole(a.detach()), b.detach()) for (_, a), b in pairs)
    result["bias"] = compare_balance(spread)
    return result


def compare_bfloat16() -> dict[str, float]:
    """Blocks in bfloat16, all experts chosen, so that no rounding changes a choice."""
    alone = make_backbone()
    spread = parallelise(
        make_backbone(), make_meshes("cpu", data=1, expert=2), dtype=torch.bfloat16
    )
    alone.top_k = spread.top_k = E
    own = spread(images_of(dist.get_rank())).final_BND
    scalar(own.float()).backward()
    expected = [alone(images_of(rank)).final_BND for rank in range(2)]
    (sum(scalar(output) for output in expected) / 2).backward()
    assert own.dtype == torch.bfloat16
    pairs = list(zip(spread.parameters(), alone.parameters(), strict=True))
    assert all(value.grad.dtype == torch.float32 for value, _ in pairs)
    return {
        "outputs": furthest(own.detach().float(), expected[dist.get_rank()].detach()),
        "gradients": max(furthest(whole(a.grad), b.grad) for a, b in pairs),
    }


def compare_balance(spread: moekit.MoEBackbone) -> float:
    """All processes end with one bias, that of the tokens of all."""
    trace = moekit.RoutingTrace()
    with torch.no_grad():
        spread(images_of(dist.get_rank()), trace=trace)
    counts = {record.block: record.counts_BE.sum(0) for record in trace.blocks}
    total = counts[1].clone()
    dist.all_reduce(total)
    expected = 0.1 * torch.sign(total.float().mean() - total.float())
    balance_routers(spread, counts, rate=0.1)
    return furthest(spread.blocks[1].moe.router.bias_E, expected)


def step_and_save(folder: Path) -> None:
    """One step of many processes, each with its images, then a checkpoint."""
    processes = dist.get_world_size()
    spread = parallelise(make_backbone(), make_meshes("cpu", data=1, expert=processes))
    optimiser = torch.optim.AdamW(parameter_groups(spread), lr=1e-2)
    scalar(spread(images_of(dist.get_rank())).final_BND).backward()
    optimiser.step()
    save_sharded(folder, spread, optimiser)


def differences_of_loaded(folder: Path, data: int, expert: int) -> dict[str, float]:
    """A checkpoint of one process (`folder`), read by many: weights and Adam's moments."""
    alone, spread = make_backbone(), make_backbone()
    one = torch.optim.AdamW(alone.parameters(), lr=1e-2)
    scalar(alone(images_of(0)).final_BND).backward()
    one.step()
    with torch.no_grad():
        for parameter in spread.parameters():
            parameter.zero_()
    parallelise(spread, make_meshes("cpu", data=data, expert=expert))
    many = torch.optim.AdamW(parameter_groups(spread), lr=1e-2)
    load_sharded(folder, spread, many)
    pairs = list(zip(spread.parameters(), alone.parameters(), strict=True))
    return {
        "weights": max(furthest(whole(a.detach()), b.detach()) for a, b in pairs),
        "moments": max(
            furthest(whole(many.state[a]["exp_avg_sq"]), one.state[b]["exp_avg_sq"])
            for a, b in pairs
        ),
    }


def compare_all(folder: Path) -> dict[str, dict[str, float]]:
    if dist.get_world_size() > 2:
        return {
            "mesh 2x2": compare_backbone(2, 2),
            "loaded": differences_of_loaded(folder / "one", 2, 2),
        }
    outcome = {f"layer: {name}": compare_layer(name) for name in LAYERS}
    outcome |= {f"mesh {d}x{e}": compare_backbone(d, e) for d, e in ((2, 1), (1, 2))}
    outcome["bfloat16"] = compare_bfloat16()
    step_and_save(folder / "two")
    outcome["loaded"] = differences_of_loaded(folder / "one", 1, 2)
    outcome["twin"] = train_twin(SHALLOW, data=1, expert=2, steps=4)
    return outcome


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    outcome = compare_all(folder)
    if dist.get_rank() == 0:
        path = folder / f"outcome{dist.get_world_size()}.json"
        path.write_text(json.dumps(outcome))
    dist.destroy_process_group()


def forked(rank: int, folder: Path, processes: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes)}
    main(folder)


def start(folder: Path, processes: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    start_processes(forked, (folder, processes), nprocs=processes, start_method="fork")


if __name__ == "__main__":
    for number in sys.argv[2:]:
        start(Path(sys.argv[1]), int(number))
