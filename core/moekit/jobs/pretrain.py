"""Pretraining by the name of a kit: the call behind `moekit pretrain KIT`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit.backbone.sources import DEFAULT_ARCHITECTURE, cache_folder
from moekit.contract.frames import frame_of
from moekit.contract.kits import KitSpec
from moekit.data.images import relative_id
from moekit.data.licence import with_licence
from moekit.data.samples import Dataset, Sample
from moekit.data.sizes import typical_size
from moekit.data.survey import none_usable, survey_folder
from moekit.errors import DataError
from moekit.files import check_writable
from moekit.jobs.adapt import open_fabric
from moekit.jobs.recorded import recorded_command
from moekit.jobs.session import READING, load_licensed, one_step, open_backbone, quiet_libraries
from moekit.occupied import alone_in
from moekit.plugins.changes import KitChanges, changed, kit_of_frames
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import prepared, variant
from moekit.pretraining.recipe import PretrainRecipe
from moekit.pretraining.specialists import PretrainJob, pretrain_specialists
from moekit.runs.pretrained import Pretrained

_GIB = 2**30


@names_owner
@alone_in("out")
def pretrain_kit(
    kit: str,
    *,
    data: str,
    out: Path,
    on_progress: Callable[[str, int, int], None],
    on_figures: Callable[[Mapping[str, float]], None],
    on_note: Callable[[str], None] = lambda _: None,
    task: str | None = None,
    seed: int = 0,
    resume: bool = False,
    experts: Sequence[str] = (),
    gate: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    top_k: int | None = None,
    architecture: str | None = None,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
    devices: int = 1,
    cache_gib: float = 16.0,
    data_licence: str | None = None,
    command: str = "",
) -> dict[str, Any] | None:
    """Pretrains a kit's specialists; returns the record, or None in all processes but the first.

    Args:
        kit: Name of the kit.
        data: `LOADER` or `LOADER=PATH`, of which the training split is learned from; or a folder
            of images, all of which are.
        out: The folder to make.
        on_progress: Called with a description, what is done and the total.
        on_figures: Called with the figures of each judgement of the features.
        on_note: Called with each sentence on what was left out.
        task: The kit's task, which says where its specialists lie; its first one if None.
        seed: Decides everything that is drawn.
        resume: Whether to go on with an interrupted pretraining.
        experts: Registered experts that are added to the kit's own.
        gate: A registered gate in place of the kit's.
        recipe: Fields of `PretrainRecipe` that are changed.
        top_k: Generic experts a token has.
        architecture: A timm vision transformer; the default backbone if None.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.
        devices: Processes to train with.
        cache_gib: Most disk space for frozen activations.
        data_licence: The licence of the data, in place of what loader and folder say.
        command: The command line, for the record.

    Raises:
        MoekitError: See `moekit.pretraining.specialists.pretrain_specialists`.
    """
    quiet_libraries()
    check_writable(out, out / "checkpoints")
    registry = Registry()
    changes = KitChanges(experts=experts, gate=gate).full(registry)
    chosen = changed(variant(registry.kit(kit), task, whose="--task"), changes, registry)
    with one_step(READING, on_progress):
        dataset = load_images(registry, data, kit=chosen, seed=seed, licence=data_licence)
    fields = {"image_size": chosen.recipe.image_size, **(recipe or {})}
    plan = PretrainRecipe().changed(fields)
    fabric = open_fabric(device, devices, plan.precision)
    backbone = open_backbone(
        device=str(fabric.device),
        weights=weights,
        form=form,
        architecture=architecture or DEFAULT_ARCHITECTURE,
    )
    of_kit = chosen.recipe.changed({"image_size": plan.image_size, "views": plan.views})
    size = typical_size(dataset.split("train")) if of_kit.fit == "letterbox" else None
    record = pretrain_specialists(
        PretrainJob(
            kit=kit_of_frames(chosen, dataset.frames),
            kit_name=registry.full_name("kits", kit),
            changes=changes,
            dataset=dataset,
            out=Pretrained(out),
            frame=frame_of(of_kit, backbone.patch, size),
            seed=seed,
            recipe=plan,
            top_k=top_k or backbone.top_k,
            folder=cache_folder() / "prefix",
            cache_limit=int(cache_gib * _GIB),
            resume=resume,
            command=recorded_command(command, chosen, data=data, paths=(out, weights, form)),
        ),
        backbone=backbone,
        registry=registry,
        fabric=fabric,
        on_progress=on_progress,
        on_figures=on_figures,
        on_note=on_note,
    )
    return record if fabric.is_global_zero else None


def load_images(
    registry: Registry, data: str, *, kit: KitSpec | None, seed: int, licence: str | None
) -> Dataset:
    """The images that `--data` names, split as an adaptation with the same seed splits them.

    Args:
        registry: The installed plugins.
        data: `LOADER`, `LOADER=PATH`, or a folder of images without labels.
        kit: The kit, whose own preparation of data is made; None for none.
        seed: Of the splits.
        licence: The user's own words on the licence.

    Raises:
        DataError: There is no image, or the loader refuses the data.
    """
    folder = Path(data).expanduser()
    if not folder.is_dir() or data in {
        name.rpartition("/")[2] for name in registry.names("datasets")
    }:
        dataset = load_licensed(registry, data, seed=seed, licence=licence)
        return dataset if kit is None else prepared(kit, dataset, seed=seed)
    dataset = with_licence(_unlabelled(folder), folder, licence)
    if kit is not None and kit.hides_paths:
        return prepared(kit, dataset, seed=seed)
    return dataset


def _unlabelled(folder: Path) -> Dataset:
    survey = survey_folder(folder)
    if not survey.images:
        raise DataError(
            f"there is no image to learn from: {none_usable(survey.skipped)}",
            whose=str(folder),
            fix="name a folder with images",
            code="data/no-images",
        )
    return Dataset(
        name=folder.resolve().name,
        samples=tuple(
            Sample(id=relative_id(path, folder), path=path, label=0, split="train")
            for path in survey.images
        ),
        classes=("image",),
        split_note="a folder without labels: all images are learned from",
        skipped=survey.skipped,
        has_negative=False,
    )
