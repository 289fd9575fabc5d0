"""Weights of runs: hashed before they are parsed, of the types that were written, and finite."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from moekit.errors import WeightsError
from moekit.files import sha256
from moekit.text import first_line


def read_weights(
    path: Path, module: nn.Module, *, expected: str, record: str, what: str, fix: str
) -> None:
    """Reads weights into a module that has the same tensors, of the same types.

    Args:
        path: Their file.
        module: Takes them.
        expected: SHA-256 of the file; checked before the file is parsed.
        record: The name of the file that the hash is from.
        what: What they are, for the message, such as "the trained weights".
        fix: What to do if they cannot be used.

    Raises:
        WeightsError: The file is missing, changed or does not fit, its numbers are of another type,
            or one is not finite.
    """
    try:
        if sha256(path) != expected:
            raise ValueError(f"its SHA-256 is not the one in {record}")
        tensors = load_file(path)
        wanted = module.state_dict()
        cast = {
            name: f"{tensors[name].dtype}, not {value.dtype}".replace("torch.", "")
            for name, value in wanted.items()
            if name in tensors and tensors[name].dtype != value.dtype
        }
        if cast:
            name = next(iter(cast))
            raise WeightsError(
                f"{len(cast)} of {len(tensors)} tensors hold numbers of another type than the run "
                f"trains: {name} is of {cast[name]}",
                whose=str(path),
                fix=f"restore the file: numbers are not rounded unseen; else {fix}",
                code="weights/other-type",
            )
        module.load_state_dict(tensors)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"{what} cannot be used ({first_line(error)})",
            whose=str(path),
            fix=fix,
            code="weights/damaged",
        ) from error
    refuse_lost(module, path)


def refuse_lost(module: nn.Module, path: Path) -> None:
    """Refuses weights with a number that is not finite.

    A buffer may hold infinity, as a limit that nothing reaches; a trained weight may not.

    Args:
        module: Holds the weights.
        path: Their file, for the message.

    Raises:
        WeightsError: A number is not finite.
    """
    trained = {name for name, _ in module.named_parameters()}
    tensors = module.state_dict()
    lost = [
        name
        for name, value in tensors.items()
        if value.is_floating_point()
        and not (value.isfinite() if name in trained else ~value.isnan()).all()
    ]
    if lost:
        raise WeightsError(
            f"{len(lost)} of {len(tensors)} tensors hold numbers that are not finite, such as "
            f"{lost[0]}",
            whose=str(path),
            fix="begin again without --resume, with lower rates or the precision fp32",
            code="weights/not-finite",
        )
