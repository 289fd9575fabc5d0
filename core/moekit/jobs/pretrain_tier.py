"""Training the base tier: the call behind `moekit pretrain --architecture base`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moekit.files import check_writable
from moekit.jobs.adapt import open_fabric
from moekit.jobs.pretrain import load_images
from moekit.jobs.session import quiet_libraries
from moekit.occupied import alone_in
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.pretraining.recipe import PretrainRecipe
from moekit.pretraining.tier import pretrain_backbone
from moekit.pretraining.tier_job import TierJob
from moekit.runs.pretrained import Pretrained
from moekit.scale.tier import Tier


@names_owner
@alone_in("out")
def pretrain_tier(
    *,
    data: str,
    out: Path,
    on_progress: Callable[[str, int, int], None],
    on_figures: Callable[[Mapping[str, float]], None],
    on_note: Callable[[str], None] = lambda _: None,
    seed: int = 0,
    resume: bool = False,
    recipe: Mapping[str, Any] | None = None,
    twin: bool = False,
    blocks: int | None = None,
    expert_axis: int | None = None,
    device: str = "auto",
    devices: int = 1,
    data_licence: str | None = None,
    command: str = "",
) -> dict[str, Any] | None:
    """Trains the base tier, or its twin; returns the record, or None in all processes but one.

    Args:
        data: As of `pretrain_kit`.
        out: The folder to make.
        on_progress: Called with a description, what is done and the total.
        on_figures: Called with the figures of each judgement of the features.
        on_note: Called with each sentence on what was left out.
        seed: Decides everything that is drawn.
        resume: Whether to go on with an interrupted training.
        recipe: Fields of `PretrainRecipe` that are changed; the input is the tier's.
        twin: Whether the narrow twin is trained.
        blocks: Transformer blocks; the base tier's if None.
        expert_axis: Processes that the experts are spread over; 1 if None.
        device: auto, cpu, cuda or cuda:N.
        devices: Processes to train with.
        data_licence: The licence of the data, in place of what loader and folder say.
        command: The command line, for the record.

    Raises:
        MoekitError: See `moekit.pretraining.tier.pretrain_backbone`.
    """
    quiet_libraries()
    check_writable(out, out / "checkpoints")
    tier = Tier() if blocks is None else Tier(blocks=blocks)
    side = (recipe or {}).get("image_size")
    if side is not None:
        tier = Tier.model_validate({**tier.model_dump(), "image_size": side})
    tier = tier.twin() if twin else tier
    dataset = load_images(Registry(), data, kit=None, seed=seed, licence=data_licence)
    fields = {"objective": "self-distillation", **(recipe or {}), "image_size": tier.image_size}
    plan = PretrainRecipe().changed(fields)
    fabric = open_fabric(device, devices, plan.precision)
    record = pretrain_backbone(
        TierJob(
            tier=tier,
            dataset=dataset,
            out=Pretrained(out),
            seed=seed,
            recipe=plan,
            device=fabric.device,
            expert_axis=expert_axis or 1,
            resume=resume,
            command=command,
        ),
        on_progress=on_progress,
        on_figures=on_figures,
        on_note=on_note,
    )
    return record if fabric.is_global_zero else None
