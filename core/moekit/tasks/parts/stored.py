"""Tallies on disk: arrays in an npz file that holds no code.

Shapes: N items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pydantic

from moekit.data.arrays import Arrays
from moekit.errors import DataError
from moekit.files import atomic_path, parse_json, to_json
from moekit.text import first_line

Tallies = TypeVar("Tallies")
_AGAIN = "run `moekit evaluate` again"


class AboutTallies(pydantic.BaseModel):
    """What a file of arrays says of its tallies; a task adds fields of its own.

    Attributes:
        version: Of the file's form.
        models: How many tallies there are.
        ids: (N) ids of the items.
        classes: Names of the classes.
        groups: (N) names of groups, or None.
        subtypes: (N) names of strata, or None.
    """

    model_config = pydantic.ConfigDict(strict=True)

    version: Literal[1]
    models: int = pydantic.Field(ge=1, le=9)
    ids: list[str]
    classes: list[str]
    groups: list[str] | None
    subtypes: list[str] | None

    def names(self, values: Sequence[str] | None) -> tuple[str, ...] | None:
        """(N) names.

        Raises:
            ValueError: There are not as many names as items.
        """
        if values is not None and len(values) != len(self.ids):
            raise ValueError(f"{len(values)} names for {len(self.ids)} items")
        return None if values is None else tuple(values)


def save_arrays(path: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays, and what is to be said of them, as an npz file that holds no code.

    Raises:
        StorageError: It cannot be written.
    """
    text = to_json(about, ensure_ascii=False).encode()
    whole = {"about": np.frombuffer(text, dtype=np.uint8), **arrays}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **whole)


def load_arrays(
    path: Path, made: Callable[[Any, dict[str, np.ndarray]], Tallies], *, what: str
) -> Tallies:
    """Reads what `save_arrays` wrote.

    Args:
        path: The file.
        made: Makes tallies of what is said of the arrays, and of the arrays by name.
        what: What the arrays are, for the error.

    Raises:
        DataError: The file is damaged, or `made` raises an error of lookup, type or value.
    """
    try:
        with Arrays(path) as stored:
            arrays = {name: stored.read(name) for name in stored.names}
        return made(parse_json(bytes(arrays.pop("about")).decode()), arrays)
    except (DataError, LookupError, TypeError, ValueError) as error:
        why = error.what if isinstance(error, DataError) else first_line(error)
        raise DataError(
            f"{what} cannot be read ({why})", whose=str(path), fix=_AGAIN, code="data/damaged-run"
        ) from error
