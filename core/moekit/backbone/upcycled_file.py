"""Upcycled backbones on disk: one safetensors file that says how it is laid out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, cast

import pydantic
import torch
from pydantic import FiniteFloat
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from moekit.backbone.block import MoEBlock
from moekit.backbone.build import create_dense
from moekit.backbone.model import MoEBackbone, Provenance
from moekit.backbone.positions import keep_trained_positions, keeps_trained_positions
from moekit.backbone.upcycle import upcycle
from moekit.errors import UsageError, WeightsError
from moekit.files import sha256, write_tensors
from moekit.moe.virtual_groups import VirtualGroupTopK
from moekit.text import first_line

_HEADER = "moekit_upcycled"
_ROUTER = "blocks.0.moe.router.weight_ED"


_Positive = Annotated[FiniteFloat, pydantic.Field(gt=0)]


class Layout(pydantic.BaseModel):
    """What a file says of itself, in its safetensors metadata.

    Attributes:
        version: Of this record.
        experts: E.
        slices: S.
        top_k: Experts a token has.
        mean: Per-channel mean of the normalisation.
        std: Per-channel standard deviation.
        smooth_positions: See `moekit.backbone.sources.WeightFile`.
        provenance: Of the dense weights that it was made from.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    version: int = pydantic.Field(default=1, ge=1, le=1)
    experts: int = pydantic.Field(ge=1)
    slices: int = pydantic.Field(ge=1)
    top_k: int = pydantic.Field(ge=1)
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    std: tuple[_Positive, _Positive, _Positive]
    smooth_positions: bool
    provenance: Provenance


def save_upcycled(backbone: MoEBackbone, path: Path) -> None:
    """Writes an upcycled backbone, trained or not, atomically.

    Raises:
        UsageError: The backbone was not upcycled.
        StorageError: The file cannot be written.
    """
    gate = cast(MoEBlock, backbone.blocks[0]).moe.gate
    if not isinstance(gate, VirtualGroupTopK):
        raise UsageError(
            "the backbone has no slices with replicas",
            whose="save_upcycled",
            fix="give a backbone that `upcycle` made",
            code="usage/not-upcycled",
        )
    layout = Layout(
        experts=backbone.experts,
        slices=gate.slices,
        top_k=backbone.top_k,
        mean=backbone.mean,
        std=backbone.std,
        smooth_positions=not keeps_trained_positions(backbone.stem),
        provenance=backbone.provenance,
    )
    tensors = {name: value.contiguous() for name, value in backbone.state_dict().items()}
    write_tensors(path, tensors, header={_HEADER: layout.model_dump_json()})


def load_upcycled(path: Path) -> MoEBackbone:
    """Reads what `save_upcycled` wrote.

    Returns:
        The backbone on the CPU, all its parameters requiring gradients. Its provenance names this
        file; the note tells of the dense weights.

    Raises:
        WeightsError: The file is missing, damaged or of another kind.
    """
    layout = _read_layout(path)
    source = layout.provenance
    try:
        with torch.device("meta"):
            backbone = upcycle(
                create_dense(source.architecture),
                provenance=source,
                mean=layout.mean,
                std=layout.std,
                experts=layout.experts,
                slices=layout.slices,
            )
        backbone.load_state_dict(load_file(path), assign=True)
        backbone.top_k = layout.top_k
    except (SafetensorError, OSError, RuntimeError, ValueError, UsageError) as error:
        raise _unusable(path, first_line(error), code="weights/damaged") from error
    if not layout.smooth_positions:
        keep_trained_positions(backbone.stem)
    backbone.provenance = dataclasses.replace(
        source,
        source="file",
        origin=path.name,
        sha256=sha256(path),
        note=f"{source.note} Made from {source.origin} (SHA-256 {source.sha256}).",
    )
    return backbone.requires_grad_(True)


def _read_layout(path: Path) -> Layout:
    if not path.is_file():
        raise _unusable(path, "there is no such file", code="weights/not-found")
    try:
        with safe_open(path, framework="pt") as file:
            layout = Layout.model_validate_json((file.metadata() or {}).get(_HEADER, ""))
            rows = file.get_slice(_ROUTER).get_shape()
        if rows[:1] != [layout.experts]:  # as many as memory is given to below
            raise _unusable(
                path,
                f"its routers know {rows[:1]} experts, not {layout.experts}",
                code="weights/damaged",
            )
        return layout
    except SafetensorError as error:
        raise _unusable(
            path, f"it is not a whole safetensors file ({error})", code="weights/damaged"
        ) from error
    except pydantic.ValidationError as error:
        raise _unusable(
            path, "its metadata holds no layout of an upcycled backbone", code="weights/damaged"
        ) from error


def _unusable(path: Path, why: str, *, code: str) -> WeightsError:
    return WeightsError(
        f"the upcycled backbone cannot be read: {why}",
        whose=str(path),
        fix="make it again with `moekit backbone upcycle`",
        code=code,
    )
