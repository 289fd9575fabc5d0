"""The record of a loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from moekit.data.samples import Dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A loader, named on the command line as `--data NAME` or `--data NAME=PATH`.

    Attributes:
        name: Short name, unique in its distribution.
        load: Called with the path (None if none was given) and the seed; returns samples that
            are already split. A set that brings its own splits keeps them.
        summary: One line for lists.
        takes_path: Whether a path is `required`, `optional` or `refused`.
        licence: Terms of the data.
        example: Writes a small set that the loader can read into an empty folder and returns the
            path to load; conformance checks need it of loaders that take a path.
    """

    name: str
    load: Callable[[Path | None, int], Dataset]
    summary: str
    takes_path: Literal["required", "optional", "refused"]
    licence: str
    example: Callable[[Path], Path] | None = None
