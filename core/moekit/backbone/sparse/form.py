"""The sparse form of a backbone, and its file.

A block's form says how the neurons of its FFN are ordered into experts, which affine function of
its input stands in for a neuron whose expert is not chosen, how tokens are routed, and which
low-rank correction is added. The experts' weights are the dense model's and are not in the file.

Shapes: D width, F hidden neurons of the FFN, E experts, R rank of the correction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from moekit.errors import WeightsError
from moekit.files import check_plain, parse_json, sha256, to_json, write_tensors
from moekit.text import first_line

_FORMAT = "moekit-sparse-form-1"
_WHOLE = torch.int16


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockForm:
    """The form of one block.

    The layer computes `stand-in(x) + strength[k] * correction(x) + sum over chosen experts of
    (neurons - their stand-ins)`; with all experts chosen the stand-ins cancel, and the strength is
    0.

    Attributes:
        order_F: (F,) int64, the dense neurons in the order of the experts, each taking F / E.
        slope_F: (F,) float32, in the order of the dense neurons: a neuron's stand-in is
            `slope * h + offset` of its pre-activation h.
        offset_F: (F,) float32.
        router_ED: (E, D) float32 rows of the router.
        choice_E: (E,) float32 added to the router's scores for the choice.
        down_RD: (R, D) float32, first factor of the correction.
        up_DR: (D, R) float32, second factor.
        bias_D: (D,) float32 of the correction.
        strength_E: (E,) float32, the correction's weight at top_k = 1 to E.
    """

    order_F: Tensor
    slope_F: Tensor
    offset_F: Tensor
    router_ED: Tensor
    choice_E: Tensor
    down_RD: Tensor
    up_DR: Tensor
    bias_D: Tensor
    strength_E: Tensor

    def to(self, device: torch.device) -> BlockForm:
        """The same on another device."""
        fields = dataclasses.fields(self)
        return BlockForm(**{field.name: getattr(self, field.name).to(device) for field in fields})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseForm:
    """The forms of all blocks, and the facts that belong to them.

    Attributes:
        blocks: One form a block.
        architecture: timm's name of the dense model.
        dense_sha256: Hash of the weights the form was made for; it fits no others.
        facts: How it was made and how good it is; JSON-ready.
        sha256: Hash of its file; empty if it has none yet.
        origin: Name of its file, "shipped" for one of moekit's own; empty if it has none yet.
    """

    blocks: tuple[BlockForm, ...]
    architecture: str
    dense_sha256: str
    facts: Mapping[str, Any]
    sha256: str = ""
    origin: str = ""

    @property
    def experts(self) -> int:
        """E."""
        return self.blocks[0].router_ED.shape[0]

    def with_blocks(self, blocks: Sequence[BlockForm], **facts: object) -> SparseForm:
        """The same form with other blocks and further facts; it has no file yet."""
        return dataclasses.replace(
            self, blocks=tuple(blocks), facts={**self.facts, **facts}, sha256="", origin=""
        )


def save_form(form: SparseForm, path: Path) -> None:
    """Writes a form as safetensors in float16, atomically; the order of neurons as int16.

    Raises:
        StorageError: The file cannot be written.
    """
    tensors = {}
    for index, block in enumerate(form.blocks):
        for field in dataclasses.fields(BlockForm):
            value: Tensor = getattr(block, field.name)
            stored = value.to(_WHOLE if field.name == "order_F" else torch.float16)
            tensors[f"{index}.{field.name}"] = stored.contiguous()
    header = {
        "format": _FORMAT,
        "architecture": form.architecture,
        "dense_sha256": form.dense_sha256,
        "facts": to_json(dict(form.facts), sort_keys=True),
    }
    write_tensors(path, tensors, header=header)


def load_form(path: Path) -> SparseForm:
    """Reads a form.

    Raises:
        WeightsError: The file is missing, damaged or no sparse form.
    """
    try:
        check_plain(path)
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != _FORMAT:
                raise ValueError("it is not a sparse form of this version")
            tensors = {key: file.get_tensor(key) for key in file.offset_keys()}
        form = SparseForm(
            blocks=_blocks(tensors),
            architecture=header["architecture"],
            dense_sha256=header["dense_sha256"],
            facts=_facts(header["facts"]),
            sha256=sha256(path),
            origin=path.name,
        )
        _check(form)
    except (SafetensorError, OSError, LookupError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"the sparse form cannot be used ({first_line(error)})",
            whose=str(path),
            fix="give a file that `moekit backbone carve` or `moekit backbone recover` wrote",
            code="weights/damaged",
        ) from error
    return form


def _facts(text: str) -> dict[str, Any]:
    facts = parse_json(text)
    if not isinstance(facts, dict):
        raise ValueError("its facts are no mapping")
    return facts


def _blocks(tensors: Mapping[str, Tensor]) -> tuple[BlockForm, ...]:
    names = [field.name for field in dataclasses.fields(BlockForm)]
    count, rest = divmod(len(tensors), len(names))
    if rest or not count:
        raise ValueError(f"it holds {len(tensors)} tensors")
    return tuple(
        BlockForm(
            **{
                name: tensors[f"{index}.{name}"].to(
                    torch.int64 if name == "order_F" else torch.float32
                )
                for name in names
            }
        )
        for index in range(count)
    )


def _check(form: SparseForm) -> None:
    """Refuses shapes that do not fit, orders that are none, values that are not finite."""
    for index, block in enumerate(form.blocks):
        experts, width = block.router_ED.shape
        rank, neurons = block.down_RD.shape[0], block.order_F.shape[0]
        shapes = {
            "slope_F": (neurons,),
            "offset_F": (neurons,),
            "choice_E": (experts,),
            "down_RD": (rank, width),
            "up_DR": (width, rank),
            "bias_D": (width,),
            "strength_E": (experts,),
        }
        wrong = [name for name, shape in shapes.items() if getattr(block, name).shape != shape]
        if wrong:
            raise ValueError(f"{wrong[0]} of block {index} has another shape")
        if not torch.equal(block.order_F.sort().values, torch.arange(neurons)):
            raise ValueError(f"the order of block {index} is no order of its neurons")
        floats = [value for value in dataclasses.astuple(block) if value.is_floating_point()]
        if not all(bool(value.isfinite().all()) for value in floats):
            raise ValueError(f"block {index} holds values that are not finite")
