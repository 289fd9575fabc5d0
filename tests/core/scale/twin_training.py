"""Trains a narrow twin of the base tier on real photographs, in as many processes as there are.

Under torchrun it trains the whole twin: `twin_training.py FILE STEPS` writes its figures to FILE.
"""

from __future__ import annotations

import importlib.resources
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

import moekit
from moekit.scale.parallel import (
    balance_routers,
    clip_gradients,
    make_meshes,
    parallelise,
    parameter_groups,
)
from moekit.scale.tier import Tier

PER_PROCESS = 2


def photographs(side: int) -> Tensor:
    """(2, 3, side, side): solar cells that this process alone trains on, about 0 to 1."""
    folder = importlib.resources.files("elpv_dataset").joinpath("data", "images")
    first = 1 + PER_PROCESS * dist.get_rank()
    pixels = []
    for number in range(first, first + PER_PROCESS):
        with folder.joinpath(f"cell{number:04d}.png").open("rb") as file, Image.open(file) as image:
            pixels.append(np.asarray(image.convert("RGB").resize((side, side))))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255


def train_twin(tier: Tier, *, data: int, expert: int, steps: int) -> dict[str, float]:
    """Fills in masked patches; returns the losses, the time and a process's mean share."""
    meshes = make_meshes("cpu", data=data, expert=expert)
    backbone = parallelise(tier.build("cpu"), meshes)
    torch.manual_seed(0)
    head = fully_shard(nn.Linear(tier.width, 3 * tier.patch**2), mesh=meshes.everyone)
    head.set_force_sum_reduction_for_comms(True)
    both = nn.ModuleList([backbone, head])
    optimiser = torch.optim.AdamW(parameter_groups(both), lr=1e-2)
    images = photographs(tier.image_size)
    target = nn.functional.unfold(images, tier.patch, stride=tier.patch).transpose(1, 2)
    hidden = images.clone()
    hidden[:, :, : tier.patch] = 0
    losses, began = [], time.perf_counter()
    for _ in range(steps):
        trace = moekit.RoutingTrace()
        loss = (head(backbone(hidden, trace=trace).patches_BND) - target).square().mean()
        loss.backward()
        clip_gradients(both, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        counts = {record.block: record.counts_BE.sum(0) for record in trace.blocks}
        balance_routers(backbone, counts, rate=1e-3)
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        losses.append(float(mean) / dist.get_world_size())
    share = torch.tensor(sum(value.to_local().numel() for value in backbone.parameters()))
    dist.all_reduce(share)
    return {
        "first": losses[0],
        "last": losses[-1],
        "seconds_per_step": (time.perf_counter() - began) / steps,
        "blocks": len(backbone.blocks),
        "experts": backbone.experts,
        "share": float(share) / dist.get_world_size(),
    }


def main(path: Path, steps: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    figures = train_twin(Tier().twin(), data=1, expert=dist.get_world_size(), steps=steps)
    if dist.get_rank() == 0:
        path.write_text(json.dumps(figures))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
