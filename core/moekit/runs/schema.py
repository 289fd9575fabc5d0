"""What run.json and result.json may hold: both are checked when they are read.

Their content must be that of the hash in their last field, see `moekit.sealed`: what decides an
answer is not edited unseen. A field of another type, or one that is gone, becomes an error that
names file and field. A field that older versions did not write is "not known": it may
be missing, and is asked for by `get`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import ConfigDict, Field, FiniteFloat

from moekit.contract.recipe import LARGEST_SIDE, Recipe
from moekit.errors import DataError, UsageError
from moekit.licences import Licences
from moekit.sealed import read_sealed

SCHEMA = 1
"""Of run.json and result.json."""


class _Part(pydantic.BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Frame(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    height: int = Field(gt=0, le=LARGEST_SIDE)
    width: int = Field(gt=0, le=LARGEST_SIDE)
    fit: Literal["squash", "letterbox"] = "squash"


class _Tiling(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    height: int = Field(gt=0, le=LARGEST_SIDE)
    width: int = Field(gt=0, le=LARGEST_SIDE)
    overlap: FiniteFloat = Field(default=0.0, ge=0, lt=1)
    flat: int = Field(default=0, ge=0, le=255)


class _Changes(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    experts: list[str] = []
    gate: str | None = None
    placement: Literal["trunk", "side", "none"] = "trunk"
    sites: int = Field(default=1, ge=1)


class BudgetPoint(_Part):
    """A setting of tokens whose headline was measured."""

    arithmetic: FiniteFloat
    value: FiniteFloat | None
    ci95: list[FiniteFloat] | None = Field(default=None, min_length=2, max_length=2)
    loss: FiniteFloat | None = None
    loss_ci95: list[FiniteFloat] | None = Field(default=None, min_length=2, max_length=2)


class Budget(_Part):
    """How the tokens of a run were chosen."""

    asked: FiniteFloat | Literal["auto"]
    recipe: dict[str, Any] = {}
    arithmetic: FiniteFloat = 1.0
    headline: str = ""
    measured: list[BudgetPoint] = []
    in_words: list[str] = []


class _Request(_Part):
    kit: str
    task: str = ""
    classes: list[str] = []
    frame: _Frame | None = None
    tiling: _Tiling | None = None
    changes: _Changes = _Changes()
    metrics: list[str] = []
    duplicates: Literal["keep", "drop", "refuse"] | None = None
    dataset: str = ""
    frames: int = Field(default=1, ge=1)
    negatives_only: bool = False
    seed: int = 0
    recipe: Recipe | None = None
    backbone_sha256: str = ""
    computes: str = ""
    top_k: int = Field(default=1, ge=1)
    data: dict[str, dict[str, Any]] | None = None
    started_from: dict[str, Any] | None = None
    budget: Budget | None = None


class _Backbone(_Part):
    architecture: str = ""
    origin: str = ""


class _Skipped(_Part):
    id: str
    reason: str


class _Rule(_Part):
    name: str = ""


class _Use(_Part):
    model: Literal["", "specialist", "baseline", "mean"] = ""
    kept: Literal["specialist", "baseline", "best"] | None = None
    in_words: str = ""


class _LearnedFrom(_Part):
    images_sha256: str


class _Learned(_Part):
    train: _LearnedFrom
    val: _LearnedFrom
    complete: bool


class _Record(_Part):
    done: bool
    request: _Request
    weights: dict[str, str | None] = {}
    arithmetic: Literal["", "fp32", "bf16"] = ""
    parameters: dict[str, int] = {}
    training: dict[str, Any] = {}
    backbone: _Backbone = _Backbone()
    plugins: list[dict[str, Any]] = []
    skipped: list[_Skipped] = []
    files: dict[str, str] | None = None
    rule: _Rule | None = None
    use: _Use | None = None
    class_counts: dict[str, dict[str, int]] | None = None
    caution: str | None = None
    pretraining: dict[str, Any] | None = None
    learned: _Learned | None = None
    licences: Licences | None = None


class _Figure(_Part):
    value: FiniteFloat | None
    ci95: list[FiniteFloat] | None = Field(min_length=2, max_length=2)


class _Metric(_Figure):
    higher_is_better: bool


class _Baseline(_Part):
    name: str
    metrics: dict[str, _Metric]


class _Throughput(_Part):
    images_per_s: FiniteFloat
    batch_size: int


class _Result(_Part):
    kit: str
    dataset: str
    split: str
    n: int = Field(ge=0)
    metrics: dict[str, _Metric]
    baseline: _Baseline | None = None
    comparison: dict[str, Any] | None = None
    subsets: dict[str, dict[str, Any]] = {}
    throughput: _Throughput | None = None
    backbone: dict[str, Any] = {}
    plugins: list[dict[str, Any]] = []
    skipped: list[_Skipped] = []
    notes: list[str] = []
    classes: list[str] = []
    files: dict[str, str] | None = None
    licences: Licences | None = None


class Record(dict[str, Any]):
    """A part of run.json. A field that is asked for and missing is an error that names it.

    Args:
        content: The part.
        file: The file.
        name: Of the part, with a dot at its end; empty for the whole.
    """

    def __init__(self, content: Mapping[str, Any], file: Path, name: str = "") -> None:
        super().__init__(
            (key, Record(value, file, f"{name}{key}.") if isinstance(value, dict) else value)
            for key, value in content.items()
        )
        self._file, self._name = file, name

    def __missing__(self, key: str) -> Any:
        raise damaged(self._file, f"the field {self._name}{key} is missing")

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))  # a copy is anybody's to change


def read_record(path: Path) -> Record:
    """The content of run.json.

    Raises:
        DataError: The file is gone, damaged or edited, of another schema, or a field is not of its
            type.
    """
    content = read_sealed(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DataError(
            f"the run is not of schema {SCHEMA}",
            whose=str(path),
            fix="make it again with this version of moekit",
            code="data/other-version",
        )
    return Record(_checked(_Record, content, path), path)


def read_result(path: Path) -> dict[str, Any]:
    """The content of result.json.

    Raises:
        DataError: The file is gone, damaged or edited, or a field is not of its type.
    """
    return _checked(_Result, read_sealed(path), path)


def _checked(model: type[_Part], content: Any, path: Path) -> dict[str, Any]:
    try:
        model.model_validate(content)
    except pydantic.ValidationError as error:
        raise damaged(path, first_fault(error)) from error
    except RecursionError as error:
        raise damaged(path, "its fields lie too deep") from error
    checked: dict[str, Any] = content
    return checked


def first_fault(error: pydantic.ValidationError) -> str:
    """The first field that is wrong, and how; no value, which may be private."""
    fault = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(map(str, fault["loc"]))
    return f"the field {field}: {fault['msg']}" if field else fault["msg"]


@contextlib.contextmanager
def as_recorded(path: Path, field: str) -> Iterator[None]:
    """Makes wrong usage in the block a fault of a file, whose field asked for it.

    Args:
        path: The file.
        field: The field, such as `rule.name`.

    Raises:
        DataError: In place of a `UsageError`.
    """
    try:
        yield
    except UsageError as error:
        raise damaged(path, f"the field {field}: {error.what}") from error


def damaged(path: Path, what: str) -> DataError:
    """The error of a file of a run that was edited or cut."""
    return DataError(
        f"a file of the run is damaged: {what}",
        whose=str(path),
        fix="restore the file, or make the run again",
        code="data/damaged-run",
    )
