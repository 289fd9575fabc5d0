"""The plan of a training: what a tier needs on a given number of GPUs, before one is rented.

The layout is that of `moekit.scale.parallel`: experts spread along one axis of the mesh, everything
sharded over all GPUs (ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054), AdamW with float32 weights
and moments.

Shapes: D width, E experts.
"""

from __future__ import annotations

import math
from typing import Literal

import pydantic

from moekit.errors import UsageError
from moekit.scale.counts import block_activations, block_rest, count_parameters, forward_flops, stem
from moekit.scale.tier import Tier

Arithmetic = Literal["fp32", "bf16", "fp16"]
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
_MASTER = 4
_IN_A_MACHINE = 8


class Memory(pydantic.BaseModel):
    """Bytes on one GPU, where n is the number of all parameters divided by that of GPUs.

    Attributes:
        weights: 4 n: float32 shards. Banks' output biases are copied along the expert axis.
        gradients: 4 n.
        optimiser: 8 n: AdamW's two moments.
        gathered: Two blocks' weights in the compute dtype, one that computes and one that is being
            fetched, the gradients of one, and the stem's weights and gradients. Of a block's
            experts, a GPU fetches those of its place on the expert axis.
        activations: batch * tokens * blocks * values a block (see `counts.block_activations`), in
            the compute dtype, and a float32 copy of the router's input if that is narrower.
            With recomputation: the blocks' inputs, and one block whole (Chen et al. 2016,
            arXiv:1604.06174). Taken for balanced experts.
        total: The sum; buffers of kernels and of communication come on top.
    """

    weights: int
    gradients: int
    optimiser: int
    gathered: int
    activations: int
    total: int


class Plan(pydantic.BaseModel):
    """What `make_plan` works out.

    Attributes:
        tier: The size.
        gpus: Their number, data * expert.
        data: Length of the mesh's data axis.
        expert: Length of its expert axis.
        image_size: Side of the images in pixels.
        arithmetic: In which blocks compute.
        batch: Images a GPU and step.
        recompute: Whether blocks are computed again in the backward pass.
        parameters: All.
        active_parameters: Those that one token meets.
        tokens_per_image: Patches and class token.
        forward_flops_per_image: Matrix products, a multiply-add as two.
        training_flops_per_image: Three times as many; four times with recomputation.
        memory_bytes_per_gpu: See `Memory`.
        exchanged_bytes_per_gpu: What one GPU sends to others in a forward pass, for tokens to reach
            their experts and to return; as much again in the backward pass.
    """

    tier: Tier
    gpus: int
    data: int
    expert: int
    image_size: int
    arithmetic: Arithmetic
    batch: int
    recompute: bool
    parameters: int
    active_parameters: int
    tokens_per_image: int
    forward_flops_per_image: int
    training_flops_per_image: int
    memory_bytes_per_gpu: Memory
    exchanged_bytes_per_gpu: int


def make_plan(
    tier: Tier,
    *,
    gpus: int,
    expert: int | None = None,
    image_size: int | None = None,
    arithmetic: Arithmetic = "bf16",
    batch: int = 16,
    recompute: bool = False,
) -> Plan:
    """Works out what a tier needs.

    Args:
        tier: The size.
        gpus: Their number.
        expert: Length of the mesh's expert axis. None: the longest that divides the GPUs and the
            experts and stays within a machine of 8.
        image_size: Side of the images; the tier's own if None.
        arithmetic: In which blocks compute.
        batch: Images a GPU and step.
        recompute: Whether blocks are computed again in the backward pass.

    Raises:
        UsageError: The mesh or the image size does not fit.
    """
    side = image_size or tier.image_size
    axis = expert or math.gcd(gpus, tier.experts, _IN_A_MACHINE)
    _check(tier, gpus=gpus, expert=axis, side=side, batch=batch)
    counted = count_parameters(tier)
    forward = forward_flops(tier, side)
    tokens, width = tier.tokens(side), tier.width
    sent = batch * tokens * tier.top_k * width * _BYTES[arithmetic] * 2 * tier.blocks
    return Plan(
        tier=tier,
        gpus=gpus,
        data=gpus // axis,
        expert=axis,
        image_size=side,
        arithmetic=arithmetic,
        batch=batch,
        recompute=recompute,
        parameters=counted.total,
        active_parameters=counted.active,
        tokens_per_image=tokens,
        forward_flops_per_image=forward,
        training_flops_per_image=forward * (4 if recompute else 3),
        memory_bytes_per_gpu=_memory(
            tier,
            gpus=gpus,
            expert=axis,
            tokens=batch * tokens,
            value=_BYTES[arithmetic],
            recompute=recompute,
        ),
        exchanged_bytes_per_gpu=sent * (axis - 1) // axis,
    )


def _memory(
    tier: Tier, *, gpus: int, expert: int, tokens: int, value: int, recompute: bool
) -> Memory:
    counted = count_parameters(tier)
    biases = counted.shared_biases * expert
    shard = math.ceil((counted.experts + counted.rest + biases) / gpus)
    bank = tier.experts // expert * counted.one_expert + tier.width
    block = bank + block_rest(tier)
    kept = block_activations(tier) * value + (tier.width * 4 if value < 4 else 0)
    one, inputs = tokens * kept, tokens * tier.width * value * tier.blocks
    parts = {
        "weights": _MASTER * shard,
        "gradients": _MASTER * shard,
        "optimiser": 2 * _MASTER * shard,
        "gathered": (3 * block + 2 * stem(tier)) * value,
        "activations": inputs + one if recompute else tier.blocks * one,
    }
    return Memory(**parts, total=sum(parts.values()))


def _check(tier: Tier, *, gpus: int, expert: int, side: int, batch: int) -> None:
    if gpus < 1 or batch < 1:
        raise UsageError(
            f"{gpus} GPUs with {batch} images each do no work",
            whose="gpus and batch",
            fix="choose 1 or more of each",
            code="usage/out-of-range",
        )
    if expert < 1 or gpus % expert or tier.experts % expert:
        raise UsageError(
            f"an expert axis of {expert} divides not both {gpus} GPUs and {tier.experts} experts",
            whose="the mesh",
            fix="choose an expert axis that divides both",
            code="usage/not-divisible",
        )
    if side < tier.patch or side % tier.patch:
        raise UsageError(
            f"images of {side} pixels are not whole patches of {tier.patch}",
            whose="image_size",
            fix=f"choose a multiple of {tier.patch}",
            code="usage/image-size",
        )
