"""What most commands begin with: plugins, device, backbone."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from moekit.backbone.build import build_backbone
from moekit.backbone.model import MoEBackbone
from moekit.backbone.sources import DEFAULT_ARCHITECTURE
from moekit.data.licence import with_licence
from moekit.data.samples import Dataset
from moekit.errors import UsageError
from moekit.plugins.registry import Registry, loader_and_path
from moekit.runs.run import Run
from moekit.runs.schema import as_recorded
from moekit.runtime.device import pick_device

READING = "reading the data"
OPENING = "opening backbone and kit"


@contextlib.contextmanager
def one_step(what: str, on_progress: Callable[[str, int, int], None]) -> Iterator[None]:
    """Tells that a step begins, and that it is done."""
    on_progress(what, 0, 1)
    yield
    on_progress(what, 1, 1)


def open_backbone(
    *,
    device: str,
    weights: str,
    architecture: str = DEFAULT_ARCHITECTURE,
    top_k: int | None = None,
    form: str = "auto",
) -> MoEBackbone:
    """The backbone on a device.

    Raises:
        UsageError: The device or the architecture cannot be used.
        WeightsError: There are no weights.
    """
    quiet_libraries()
    backbone = build_backbone(architecture, weights=weights, top_k=top_k, form=form)
    return backbone.to(pick_device(device))


def backbone_of_run(run: Run, *, device: str, weights: str, form: str) -> MoEBackbone:
    """The backbone that a finished run was trained on.

    Raises:
        DataError: The run is not finished, or names an architecture that does not exist.
        UsageError: The device cannot be used.
        WeightsError: There are no weights.
    """
    architecture = run.read_finished()["backbone"]["architecture"]
    place = str(pick_device(device))
    with as_recorded(run.record, "backbone.architecture"):
        return open_backbone(device=place, weights=weights, architecture=architecture, form=form)


def backbone_of(runs: Mapping[str, Path], *, device: str, weights: str, form: str) -> MoEBackbone:
    """The backbone that all runs were trained on.

    Raises:
        DataError: A run is not finished.
        UsageError: They were trained on several, or the device cannot be used.
        WeightsError: There are no weights.
    """
    opened = {name: Run(folder) for name, folder in runs.items()}
    found = {name: run.read_finished()["backbone"]["architecture"] for name, run in opened.items()}
    if len(set(found.values())) > 1:
        raise UsageError(
            "the runs were trained on several backbones: "
            + ", ".join(f"{name} on {one}" for name, one in found.items()),
            whose=", ".join(found),
            fix="name those of one backbone at a time",
            code="usage/other-backbone",
        )
    return backbone_of_run(next(iter(opened.values())), device=device, weights=weights, form=form)


def load_licensed(
    registry: Registry, data: str, *, seed: int, licence: str | None = None
) -> Dataset:
    """A data set by `LOADER` or `LOADER=PATH`, and its licence as far as anybody states it.

    Args:
        registry: The installed plugins.
        data: What the user named.
        seed: Of the splits.
        licence: The user's own words on it; see `moekit.data.licence.with_licence`.

    Raises:
        MoekitError: As of `Registry.load_dataset`.
    """
    dataset = registry.load_dataset(data, seed=seed)
    return with_licence(dataset, loader_and_path(data)[1], licence)


def quiet_libraries() -> None:
    """Keeps notes of libraries that say nothing about the task off the terminal."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning(\.|$)")
    torch.set_float32_matmul_precision("highest")
