"""Sharded checkpoints: each process writes its part, any number of processes reads it.

`torch.distributed.checkpoint` does the work, with safetensors files instead of its own format,
whose index is a pickle.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from moekit.errors import DataError, StorageError, WeightsError
from moekit.files import check_plain, read_json, sha256, write_json
from moekit.scale.processes import is_first, wait

_logger = logging.getLogger(__name__)
_HASHES = "hashes.json"
_MODEL, _OPTIMISER = "model.", "optimiser."
_OPTIONS = StateDictOptions(flatten_optimizer_state_dict=True)


def save_sharded(
    folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer | None = None
) -> None:
    """Writes a checkpoint; all processes call together.

    Args:
        folder: Must not exist; it is whole or absent (a temporary name, then a rename).
        module: Any, parallelised or not.
        optimiser: Its state is kept too if one is given.

    Raises:
        StorageError: The folder exists or cannot be written.
    """
    if folder.exists():
        raise StorageError(
            "there is something of this name already",
            whose=str(folder),
            fix="choose another name, or delete it",
            code="storage/exists",
        )
    wait()
    temporary = folder.with_name(f".{folder.name}.tmp")
    tensors, _ = _tensors(module, optimiser)
    try:
        if is_first():
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        wait()
        with _quiet_when_alone():
            save(
                tensors,
                storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True),
                no_dist=not dist.is_initialized(),
            )
        wait()
        if is_first():
            parts = sorted(temporary.glob("*.safetensors"))
            write_json(temporary / _HASHES, {path.name: sha256(path) for path in parts})
            temporary.rename(folder)
        wait()
    except (OSError, CheckpointException) as error:
        raise StorageError(
            f"cannot write the checkpoint ({error})",
            whose=str(folder),
            fix="free space or choose a folder that can be written, then go on",
            code="storage/cannot-write",
        ) from error


def load_sharded(
    folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer | None = None
) -> None:
    """Reads a checkpoint into a module and its optimiser; all processes call together.

    Args:
        folder: Made by `save_sharded`, by any number of processes on any mesh.
        module: Of the same parameters, spread in any way or not at all.
        optimiser: Over the module's parameters; None leaves the stored state unread.

    Raises:
        WeightsError: The checkpoint is missing, damaged, or of another module.
    """
    if not folder.is_dir():
        raise _unusable(folder, "there is no such folder", code="weights/not-found")
    _check_hashes(folder)
    tensors, options = _tensors(module, optimiser)
    try:
        with _quiet_when_alone():
            load(
                tensors,
                storage_reader=HuggingFaceStorageReader(str(folder)),
                no_dist=not dist.is_initialized(),
            )
    # Parsers of damaged bytes raise nearly anything; torch's own error is no `Exception`.
    except (CheckpointException, Exception) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise _unusable(folder, told[-1], code="weights/damaged") from error
    if optimiser is not None:
        stored: dict[str, Any] = {
            name.removeprefix(_OPTIMISER): value
            for name, value in tensors.items()
            if name.startswith(_OPTIMISER)
        }
        set_optimizer_state_dict(
            module, optimiser, optim_state_dict={**stored, **options}, options=_OPTIONS
        )


def _check_hashes(folder: Path) -> None:
    """Compares the files with their hashes; a checkpoint of an earlier version has none.

    Each file that is read must have one, and be a plain file: a pipe would be waited for for ever.
    """
    parts = {path.name for path in folder.glob("*.safetensors")}
    try:
        for name in parts:
            check_plain(folder / name)
    except OSError as error:
        why = error.strerror or str(error)
        raise _unusable(folder, f"{name}: {why}", code="weights/damaged") from error
    if not (folder / _HASHES).is_file():
        _logger.warning("%s holds no hashes: whether its files have changed is not known", folder)
        return
    try:
        known = dict(read_json(folder / _HASHES))
        changed = sorted(parts - set(known))
        changed += [name for name, value in known.items() if sha256(folder / name) != value]
    except (DataError, OSError, TypeError, ValueError) as error:
        why = f"a file of it is gone ({error})"
        raise _unusable(folder, why, code="weights/damaged") from error
    if changed:
        why = f"{changed[0]} is not the file that was written"
        raise _unusable(folder, why, code="weights/damaged")


def _tensors(
    module: nn.Module, optimiser: torch.optim.Optimizer | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Model and optimiser as one flat mapping of tensors, and the optimiser's options."""
    tensors = {f"{_MODEL}{name}": value for name, value in module.state_dict().items()}
    options: dict[str, Any] = {}
    if optimiser is not None:
        state = get_optimizer_state_dict(module, optimiser, options=_OPTIONS)
        for name, value in cast(dict[str, Any], state).items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMISER}{name}"] = value
            else:
                options[name] = value
    return tensors, options


@contextlib.contextmanager
def _quiet_when_alone() -> Iterator[None]:
    """A single process needs no warning that it is one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _unusable(folder: Path, why: str, *, code: str) -> WeightsError:
    return WeightsError(
        f"the checkpoint cannot be read: {why}",
        whose=str(folder),
        fix="give a folder that `save_sharded` wrote, and the model that it was written from",
        code=code,
    )
