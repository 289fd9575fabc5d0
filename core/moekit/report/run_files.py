"""The files of a run that a report reads next to result.json, checked one by one.

A missing file is None; a damaged one is an error that names it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pydantic
from markupsafe import Markup
from PIL import Image

from moekit.errors import DataError
from moekit.files import read_json, read_text

_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    jinja2.TemplateError,
)
"""What a damaged file sets off in those who read it or draw from it."""


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
    """routing.json; `generic` is empty if every token has all experts."""

    n: int
    classes: list[str]
    specialists: list[Specialist]
    generic: list[GenericExperts] = []

    @pydantic.field_validator("generic")
    @classmethod
    def _with_a_choice(cls, blocks: list[GenericExperts]) -> list[GenericExperts]:
        """Leaves out blocks whose tokens all have all experts, which earlier versions wrote."""
        return [block for block in blocks if len({round(one, 9) for one in block.load}) > 1]


class Overlay(pydantic.BaseModel):
    """One entry of overlays/index.json.

    Entries of before API 2.0 have figures of their own in place of a caption: numbers, and whole
    numbers that count the classes.
    """

    model_config = pydantic.ConfigDict(extra="allow")

    id: str
    file: str
    kind: str
    caption: str | None = None
    right: bool = False

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Overlay:
        if self.caption is None and not all(
            isinstance(value, (int, float)) for value in self._figures.values()
        ):
            raise ValueError("an entry has neither a caption nor figures")
        return self

    @property
    def _figures(self) -> Mapping[str, Any]:
        return self.model_extra or {}

    def in_words(self, classes: Sequence[str]) -> str:
        """What stands below the picture."""
        if self.caption is not None:
            return self.caption
        return ", ".join(f"{name} {_said(value, classes)}" for name, value in self._figures.items())


class Epoch(pydantic.BaseModel):
    """One line of history.jsonl: an epoch, and figures of any name."""

    model_config = pydantic.ConfigDict(extra="allow")

    epoch: int

    def figure(self, name: str) -> float:
        """A figure; nan if it was undefined or the epoch has none of that name."""
        value = (self.model_extra or {}).get(name)
        return float("nan") if value is None else float(value)

    def names(self) -> list[str]:
        """Names of the figures of the training and of the validation split."""
        return [name for name in self.model_extra or {} if name.startswith(("train_", "val_"))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PagePicture:
    """An overlay with its caption, and its picture as a data address."""

    overlay: Overlay
    caption: str
    source: Markup


@dataclasses.dataclass(frozen=True, kw_only=True)
class PagePictures:
    """The pictures of a page, how many found no room on it, and how many files are gone."""

    shown: tuple[PagePicture, ...]
    left_out: int
    missing: int

    @property
    def right(self) -> dict[str, list[PagePicture]]:
        """Those of right answers, by their kind, in the order of the index."""
        return self._by_kind(right=True)

    @property
    def wrong(self) -> dict[str, list[PagePicture]]:
        """Those of mistakes, by their kind, in the order of the index."""
        return self._by_kind(right=False)

    def _by_kind(self, *, right: bool) -> dict[str, list[PagePicture]]:
        kinds: dict[str, list[PagePicture]] = {}
        for picture in self.shown:
            if picture.overlay.right == right:
                kinds.setdefault(picture.overlay.kind, []).append(picture)
        return kinds


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns what a damaged file sets off into an error that names the file."""
    try:
        yield
    except _DAMAGE as error:
        first = str(error).splitlines()[0] if str(error) else ""
        raise DataError(
            f"a file of the run is damaged ({type(error).__name__}: {first})",
            whose=str(path),
            fix="make it again with `moekit evaluate`, or delete it",
            code="data/damaged-run",
        ) from error


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
        # Earlier versions wrote NaN, which no chart shows.
        epochs = [Epoch.model_validate(json.loads(line)) for line in read_text(path).splitlines()]
        for epoch in epochs:
            for name in epoch.names():
                epoch.figure(name)
        return epochs


def read_pictures(
    run: Path, *, budget: int, classes: Sequence[str] = (), folder: str = "overlays"
) -> PagePictures | None:
    """The pictures that RUN/overlays/index.json names, in its order, as far as there is room.

    Args:
        run: The run folder.
        budget: Bytes that all data addresses may take.
        classes: Names of the classes, for captions of entries that have none.
        folder: Another folder with such an index.
    """
    path = run / folder / "index.json"
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
        shown.append(PagePicture(overlay=overlay, caption=overlay.in_words(classes), source=source))
    return PagePictures(shown=tuple(shown), left_out=left_out, missing=missing)


def _said(value: float, classes: Sequence[str]) -> str:
    if isinstance(value, int):
        return classes[value] if 0 <= value < len(classes) else str(value)
    return f"{value:.3f}"


def _entries(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError("it is not a list")
    return content


def _data_address(picture: Path) -> Markup:
    with naming(picture):
        data = picture.read_bytes()
        Image.open(io.BytesIO(data), formats=["JPEG"]).load()
        return Markup("data:image/jpeg;base64,{}").format(base64.b64encode(data).decode("ascii"))
