"""Builds the backbone: architecture from timm, weights from a source, FFNs carved into experts."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from moekit.backbone.carve import EXPERTS, carve
from moekit.backbone.model import MoEBackbone, Provenance
from moekit.backbone.positions import keep_trained_positions
from moekit.backbone.sources import DEFAULT_ARCHITECTURE, WeightFile, find_weights
from moekit.backbone.sparse.sources import find_form
from moekit.errors import UsageError, WeightsError

_logger = logging.getLogger(__name__)
_EXACT = frozenset({"float16", "bfloat16"})
"""Types whose numbers float32 holds as they are."""


def build_backbone(
    architecture: str = DEFAULT_ARCHITECTURE,
    *,
    weights: str = "auto",
    experts: int = EXPERTS,
    top_k: int | None = None,
    form: str = "auto",
) -> MoEBackbone:
    """The shared backbone with pretrained weights, frozen and in eval mode, on the CPU in float32.

    Args:
        architecture: A timm model of the VisionTransformer family.
        weights: "auto", "package", "hub", or the path of a safetensors file in timm's layout.
        experts: Generic experts a block.
        top_k: Generic experts a token has; all of them if None.
        form: The sparse form that makes fewer than all experts useful: "auto" (one that ships with
            moekit and fits the weights, else none), "none", or the path of a file.

    Returns:
        The backbone; `backbone.provenance` says where its weights come from.

    Raises:
        UsageError: The architecture is unknown or cannot be carved.
        WeightsError: No source has the weights, or they or the form do not fit.
    """
    source = open_dense(architecture, weights)
    sparse = find_form(source.provenance.sha256, experts=experts, form=form)
    provenance = source.provenance
    if sparse is not None:
        provenance = dataclasses.replace(
            provenance, sparse_form=sparse.origin, sparse_sha256=sparse.sha256
        )
    return carve(
        source.vit,
        provenance=provenance,
        mean=source.mean,
        std=source.std,
        experts=experts,
        top_k=top_k,
        form=sparse,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseSource:
    """A dense model with its weights, and what a backbone made of it must know.

    Attributes:
        vit: The model.
        provenance: Where its weights come from.
        mean: Per-channel mean of its normalisation.
        std: Per-channel standard deviation.
    """

    vit: VisionTransformer
    provenance: Provenance
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def open_dense(architecture: str, weights: str) -> DenseSource:
    """Finds the weights of an architecture and builds the dense model; see `build_backbone`.

    Raises:
        UsageError: The architecture is unknown, or of another family; nothing is downloaded for it.
        WeightsError: No source has the weights, or they do not fit.
    """
    vit = create_dense(architecture)
    file = find_weights(architecture, weights)
    stored = _fill(vit, architecture, file)
    config = resolve_model_data_config(vit)
    return DenseSource(
        vit=vit,
        provenance=Provenance(
            architecture=architecture,
            source=file.source,
            origin=file.origin,
            sha256=file.sha256,
            licence=file.licence,
            note=" ".join(filter(None, [file.note, stored])),
        ),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def build_dense(architecture: str, file: WeightFile) -> VisionTransformer:
    """The dense timm model with the weights of `file`, in eval mode, for any image size."""
    vit = create_dense(architecture)
    _fill(vit, architecture, file)
    return vit


def _fill(vit: VisionTransformer, architecture: str, file: WeightFile) -> str:
    """Loads weights; returns a sentence if the file holds other numbers than float32."""
    state, stored = _read_state(file)
    wanted = vit.state_dict()
    faults = sorted(wanted.keys() ^ state.keys()) + [
        name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape
    ]
    if faults:
        raise WeightsError(
            f"the weights do not fit {architecture}: {len(faults)} tensors are missing, unknown or "
            f"of another shape, such as {faults[0]}",
            whose=str(file.path),
            fix="give the architecture that the file was made for",
            code="weights/misfit",
        )
    lost = [name for name, value in state.items() if not value.isfinite().all()]
    if lost:
        raise WeightsError(
            f"{len(lost)} of {len(state)} tensors hold numbers that are not finite, such as "
            f"{lost[0]}",
            whose=str(file.path),
            fix="get the weights again from their source, or give others",
            code="weights/not-finite",
        )
    vit.load_state_dict(state, assign=True)
    if not file.smooth_positions:
        keep_trained_positions(vit)
    vit.eval()
    return stored


def create_dense(architecture: str) -> VisionTransformer:
    """The model without weights; memory is given only to buffers that no file brings.

    Raises:
        UsageError: timm does not know the architecture, or it has one image size only.
    """
    check_known(architecture)
    make = functools.partial(
        timm.create_model, architecture, pretrained=False, num_classes=0, dynamic_img_size=True
    )
    try:
        with torch.device("meta"):
            try:
                vit = make(weight_init="skip")  # a file brings all of them
            except TypeError:
                vit = make()
        stored = vit.state_dict()
        if any(name not in stored for name, _ in vit.named_buffers()):
            vit = make()
    except TypeError as error:
        raise UsageError(
            f"{architecture} does not take images of any size ({error})",
            whose="the backbone's architecture",
            fix="choose a timm model of the VisionTransformer family",
            code="usage/unsupported-model",
        ) from error
    return cast(VisionTransformer, vit)


def _read_state(file: WeightFile) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file in float32, less those of a classification head; see `_fill`."""
    try:
        tensors = load_file(file.path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"the file is not a whole safetensors file ({error})",
            whose=str(file.path),
            fix="delete it if it lies in the cache (it is made again), or get it again",
            code="weights/damaged",
        ) from error
    kept = {name: value for name, value in tensors.items() if not name.startswith("head.")}
    other = sorted({str(one.dtype)[6:] for one in kept.values() if one.dtype != torch.float32})
    stored = f"The file holds numbers of {' and '.join(other)}, computed in float32."
    if not _EXACT.issuperset(other):  # they are rounded
        _logger.warning("%s: %s", file.path, stored)
    return {name: value.float() for name, value in kept.items()}, stored if other else ""


def check_known(architecture: str) -> None:
    """Refuses an architecture that timm does not know.

    Raises:
        UsageError: It is unknown; the message names near ones.
    """
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture.split('_')[0]}*")[:3]
        raise UsageError(
            f"timm has no model of the name {architecture!r}",
            whose="the backbone's architecture",
            fix=f"choose one of timm's vision transformers, such as {', '.join(near) or 'vit_*'}",
            code="usage/unknown-name",
        )
