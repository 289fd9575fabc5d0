"""What corrections of a kit are: their form, the kit's classes, and which loader reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from moekit.contract.tasks import TaskSpec
from moekit.data.mask_table import IGNORED, MaskTable
from moekit.errors import DataError
from moekit.files import read_json, write_json

HEADER = "corrections.json"
SCHEMA = 1
_FEW, _MANY = 255, 65535
_FORMS = ("class", "objects", "mask")
Form = Literal["class", "objects", "mask"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """What corrections of a kit are.

    Attributes:
        kit: Full name of the kit.
        task: Its task.
        classes: Names of its classes, in the order of their numbers.
        form: What a correction says; see `Correcting`.
        loader: Name of the loader that reads the labels.
        outlined: Whether objects need outlines.
        several: Whether an image may have several classes.
    """

    kit: str
    task: str
    classes: tuple[str, ...]
    form: Form
    loader: str
    outlined: bool = False
    several: bool = False

    @property
    def ignored(self) -> int:
        """The value of pixels that count for nothing in a mask."""
        return _FEW if len(self.classes) <= _FEW else _MANY

    @property
    def mask_dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Of the numbers in a mask's file."""
        return np.uint8 if self.ignored == _FEW else np.uint16

    @property
    def mask_table(self) -> MaskTable:
        """What the values of masks mean."""
        values = {number: number for number in range(len(self.classes))}
        return MaskTable(values={**values, self.ignored: IGNORED})

    def as_json(self) -> dict[str, Any]:
        """The terms for the header of a folder."""
        return {"schema": SCHEMA, **dataclasses.asdict(self), "classes": list(self.classes)}


def terms_of(task: TaskSpec, *, kit: str, classes: tuple[str, ...], point: Any) -> Terms | None:
    """The terms of a kit's corrections; None if its task takes none.

    Args:
        task: What it answers.
        kit: Its full name.
        classes: Those of its run.
        point: That of its run.
    """
    how = task.correcting
    if how is None:
        return None
    return Terms(
        kit=kit,
        task=task.name,
        classes=classes,
        form=how.form,
        loader=how.loader,
        outlined=how.outlined,
        several=how.several(point),
    )


def open_terms(folder: Path, terms: Terms) -> None:
    """Writes the header of a folder of corrections, or checks that it is the same.

    Raises:
        DataError: The folder holds corrections in other terms.
        StorageError: It cannot be written.
    """
    path = folder / HEADER
    if not path.exists():
        write_json(path, terms.as_json())
    known = read_terms(folder)
    if known != terms:
        differ = [
            field.name
            for field in dataclasses.fields(Terms)
            if getattr(known, field.name) != getattr(terms, field.name)
        ]
        raise DataError(
            f"the folder holds corrections with another {', '.join(differ)}",
            whose=str(folder),
            fix="name another folder, or serve the run under another name: NAME=RUN",
            code="data/other-corrections",
        )


def read_terms(folder: Path) -> Terms:
    """The terms of a folder of corrections.

    Raises:
        DataError: There are none, or the header is damaged.
    """
    path = folder / HEADER
    found = read_json(path)
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA:
        raise _damaged(path)
    try:
        terms = Terms(
            **{key: value for key, value in found.items() if key not in ("schema", "classes")},
            classes=tuple(found["classes"]),
        )
    except (KeyError, TypeError) as error:
        raise _damaged(path) from error
    texts = (terms.kit, terms.task, terms.loader, *terms.classes)
    if terms.form not in _FORMS or not all(isinstance(one, str) and one for one in texts):
        raise _damaged(path)
    return terms


def _damaged(path: Path) -> DataError:
    return DataError(
        "the header of the corrections is damaged, or of another version",
        whose=str(path),
        fix="restore the file from a backup",
        code="data/damaged-corrections",
    )
