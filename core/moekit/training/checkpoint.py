"""Checkpoints of a training: tensors in safetensors, the rest in its JSON header; no pickle.

One file holds everything, so that it is either the old state or the new one. Its header holds a
hash of the tensors, so that one that was damaged on disk is not gone on from.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn, optim

from moekit.errors import DataError
from moekit.files import check_plain, finite, parse_json, to_json, write_tensors
from moekit.text import first_line


@dataclasses.dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: Finished epochs.
        step: Finished steps of the epoch that follows.
        loss_sum: Sum of the training losses of those steps.
        best_loss: Lowest validation loss yet.
        best_epoch: The epoch that reached it, counted from 1; 0 is the weights at the start.
        seconds: Time spent training, over all sessions.
        done: Whether the training ended.
        history: One entry a finished epoch.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    seconds: float = 0.0
    done: bool = False
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def save_checkpoint(
    path: Path,
    *,
    modules: dict[str, nn.Module],
    optimizer: optim.Optimizer,
    progress: Progress,
) -> None:
    """Writes the state of a training, atomically.

    Args:
        path: The checkpoint file.
        modules: Modules by a name that is unique in the file.
        optimizer: Its state per parameter must be tensors, as AdamW's is.
        progress: Where the training stands.
    """
    tensors = {
        f"{name}/{key}": tensor.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value.cpu() for key, value in state.items()}
    kept = to_json(finite(dataclasses.asdict(progress)))
    header = {"progress": kept, "sha256": _hash(tensors)}
    write_tensors(path, tensors, header=header)


def load_checkpoint(
    path: Path, *, modules: dict[str, nn.Module], optimizer: optim.Optimizer
) -> Progress:
    """Restores what `save_checkpoint` wrote.

    Raises:
        DataError: The file is damaged or belongs to another training.
    """
    try:
        check_plain(path)
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.offset_keys()}
            header = file.metadata() or {}
            progress = _progress(header.get("progress", ""))
        if header.get("sha256", found := _hash(tensors)) != found:
            raise ValueError("its tensors are not those that were written")
        for name, module in modules.items():
            module.load_state_dict(_below(tensors, name))
        _restore_optimizer(optimizer, _below(tensors, "optimizer"))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the checkpoint cannot be used ({first_line(error)})",
            whose=str(path),
            fix="delete it to train this part again, or start a new run",
            code="data/damaged-run",
        ) from error
    return progress


class _Known(pydantic.BaseModel):
    """What the header of a file must say; figures that are not finite are null."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    epoch: int = pydantic.Field(ge=0)
    step: int = pydantic.Field(ge=0)
    loss_sum: float
    best_loss: float | None
    best_epoch: int = pydantic.Field(ge=0)
    seconds: float
    done: bool
    history: list[dict[str, float | None]]


def _progress(text: str) -> Progress:
    known = parse_json(text)
    _Known.model_validate(known)
    return Progress(
        **{**known, "best_loss": math.inf if known["best_loss"] is None else known["best_loss"]}
    )


def _hash(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}/"
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}


def _restore_optimizer(optimizer: optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**whole, "state": state})
