"""The files of a run that a report reads beside result.json, checked one by one.

A missing file is None; a damaged one is an error that names it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic
from markupsafe import Markup
from PIL import Image

from moekit.errors import DataError
from moekit.files import read_json
from moekit.tasks.score.predictions import Predictions


class Specialist(pydantic.BaseModel):
    """How much of their weight the tokens of each class give to one specialist."""

    block: int
    option: str
    load: list[pydantic.FiniteFloat]


class GenericExperts(pydantic.BaseModel):
    """Shares of one block's tokens that its generic experts take, and how even they are."""

    block: int
    load: list[pydantic.FiniteFloat] = pydantic.Field(min_length=1)
    entropy: pydantic.FiniteFloat
    maxvio: pydantic.FiniteFloat
    dead: list[int] = []


class Routing(pydantic.BaseModel):
    """routing.json."""

    n: int
    classes: list[str]
    specialists: list[Specialist]
    generic: list[GenericExperts]


class Overlay(pydantic.BaseModel):
    """One entry of overlays/index.json."""

    id: str
    file: str
    score: pydantic.FiniteFloat
    label: Literal[0, 1]
    kind: Literal["missed", "false_alarm"]


class Epoch(pydantic.BaseModel):
    """One line of history.jsonl; a figure that was undefined or that a kit does not have is nan."""

    epoch: int
    train_loss: float = float("nan")
    val_loss: float = float("nan")
    val_auroc: float = float("nan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shot:
    """An overlay with its picture as a data address."""

    overlay: Overlay
    source: Markup


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shots:
    """The pictures of a page, how many found no room on it, and how many files are gone."""

    shown: tuple[Shot, ...]
    left_out: int
    missing: int


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns what a damaged file sets off into an error that names the file."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else ""
        raise DataError(
            f"a file of the run is damaged ({type(error).__name__}: {first})",
            whose=str(path),
            fix="make it again with `moekit evaluate`, or delete it",
        ) from error


def read_predictions(run: Path, *, n: int) -> Predictions | None:
    """RUN/predictions.csv.

    Args:
        run: The run folder.
        n: How many images the result counts.

    Raises:
        DataError: The file is damaged, or is not the one that the result was computed from.
    """
    path = run / "predictions.csv"
    if not path.exists():
        return None
    predictions = Predictions.read_csv(path)
    if len(predictions) != n:
        raise DataError(
            f"the file holds {len(predictions)} images and result.json counts {n}",
            whose=str(path),
            fix="run `moekit evaluate` again",
        )
    return predictions


def read_routing(run: Path) -> Routing | None:
    """RUN/routing.json."""
    path = run / "routing.json"
    if not path.exists():
        return None
    with naming(path):
        return Routing.model_validate(read_json(path))


def read_history(run: Path) -> list[Epoch] | None:
    """RUN/history.jsonl."""
    path = run / "history.jsonl"
    if not path.exists():
        return None
    with naming(path):
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Epoch.model_validate(json.loads(line)) for line in lines]


def read_shots(run: Path, *, budget: int) -> Shots | None:
    """The pictures that RUN/overlays/index.json names, in its order, as far as there is room.

    Args:
        run: The run folder.
        budget: Bytes that all data addresses may take.
    """
    path = run / "overlays" / "index.json"
    if not path.exists():
        return None
    with naming(path):
        overlays = [Overlay.model_validate(entry) for entry in _entries(read_json(path))]
    shown, left_out, missing = [], 0, 0
    for overlay in overlays:
        # Only the name: an index leads to no other folder.
        picture = path.parent / Path(overlay.file).name
        if not picture.is_file():
            missing += 1
            continue
        source = _data_address(picture)
        if len(source) > budget:
            left_out += 1
            continue
        budget -= len(source)
        shown.append(Shot(overlay=overlay, source=source))
    return Shots(shown=tuple(shown), left_out=left_out, missing=missing)


def _entries(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError("it is not a list")
    return content


def _data_address(picture: Path) -> Markup:
    with naming(picture):
        data = picture.read_bytes()
        Image.open(io.BytesIO(data), formats=["JPEG"]).load()
        return Markup("data:image/jpeg;base64,{}").format(base64.b64encode(data).decode("ascii"))
