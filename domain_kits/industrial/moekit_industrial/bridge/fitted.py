"""A fitted model as two files: what it is made of, and its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from moekit import DataError, WeightsError
from moekit.backbone import WeightFile
from moekit.files import sha256, write_tensors
from moekit.sealed import read_sealed, write_sealed
from moekit_industrial.bridge.library import AnomalibModule, first_line
from moekit_industrial.bridge.models import build_model, find_class
from moekit_industrial.bridge.offline import offline
from moekit_industrial.bridge.weights import shared_weights

_NEEDED = {"backbone_sha256", "class", "architecture", "arguments", "image_size", "sha256"}
SCHEMA = 1
RECORD, TENSORS = "model.json", "model.safetensors"


def save_fitted(
    folder: Path,
    model: AnomalibModule,
    arguments: dict[str, Any],
    *,
    architecture: str,
    file: WeightFile,
    image_size: int,
) -> str:
    """Writes a fitted model; its memory bank and its backbone are in the file.

    Returns:
        The SHA-256 of its tensors' file.

    Raises:
        StorageError: The folder cannot be written.
    """
    tensors = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    write_tensors(folder / TENSORS, {name: one.contiguous() for name, one in tensors.items()})
    digest = sha256(folder / TENSORS)
    model_class = type(model)
    write_sealed(
        folder / RECORD,
        {
            "schema": SCHEMA,
            "class": f"{model_class.__module__}.{model_class.__qualname__}",
            "arguments": arguments,
            "architecture": architecture,
            "backbone_sha256": file.sha256,
            "image_size": image_size,
            "sha256": digest,
        },
    )
    return digest


def load_fitted(folder: Path, file: WeightFile) -> tuple[AnomalibModule, int]:
    """A model that `save_fitted` wrote, in eval mode on the CPU, and the side of its images.

    Args:
        folder: Where it lies.
        file: The backbone weights that it was fitted on.

    Raises:
        DataError: The folder holds no such model, or its record was edited.
        WeightsError: It was fitted on other weights, or its tensors are damaged.
    """
    record = read_sealed(folder / RECORD)
    if (
        not isinstance(record, dict)
        or record.get("schema") != SCHEMA
        or not record.keys() >= _NEEDED
    ):
        raise DataError(
            f"the model is not of schema {SCHEMA}",
            whose=str(folder / RECORD),
            fix="fit it again with this version of moekit",
            code="data/other-version",
        )
    if record["backbone_sha256"] != file.sha256:
        raise WeightsError(
            "the model was fitted on other backbone weights",
            whose=str(folder),
            fix="pass the weights that it was fitted on with --weights",
            code="weights/other-weights",
        )
    model_class = find_class(record["class"])
    with offline(model_class.__name__), shared_weights(record["architecture"], file):
        model = build_model(model_class, record["arguments"], image_size=record["image_size"])
    path = folder / TENSORS
    try:
        if sha256(path) != record["sha256"]:
            raise ValueError(f"its SHA-256 is not the one in {RECORD}")
        model.load_state_dict(load_file(path))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"the fitted model cannot be used ({first_line(error)})",
            whose=str(path),
            fix="fit it again",
            code="weights/damaged",
        ) from error
    return model.eval(), int(record["image_size"])
