"""What a run has stored of its answers to a split, read again and checked against the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moekit.contract.tasks import TaskSpec
from moekit.data.content import Contents
from moekit.data.fingerprint import changes, fingerprint
from moekit.data.samples import Dataset, Sample
from moekit.errors import DataError
from moekit.files import sha256_of_files
from moekit.plugins.resolve import FIRST_TASK
from moekit.runs.choices import SPECIALIST, kept_model
from moekit.runs.run import PREDICTIONS, VALIDATION, Run, check_hashes
from moekit.runs.schema import read_result
from moekit.text import few

SHOWN = 5
"""Images that a note names; the result names all."""
_RESULT, _RECORD = "result.json", "run.json"


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run."""
    return Run(path).record.is_file()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """What a run's specialist has answered of a split, in the order of the data.

    Attributes:
        run: The run.
        name: What it is called.
        tally: Of the images that it has answered.
        missing: The ids of the others.
        content: SHA-256 of the files.
        notes: What could not be checked, or may be misread.
    """

    run: Run
    name: str
    tally: Any
    missing: tuple[str, ...]
    content: str
    notes: tuple[str, ...] = ()

    def of(self, ids: Sequence[str]) -> Stored:
        """The answers to some of the images, of which those without one are missing."""
        rows = {name: row for row, name in enumerate(self.tally.ids)}
        kept = [rows[name] for name in ids if name in rows]
        missing = tuple(name for name in ids if name not in rows)
        tally = self.tally.take(np.array(kept, dtype=np.int64))
        return dataclasses.replace(self, tally=tally, missing=missing)

    @property
    def missing_in_words(self) -> tuple[str, ...]:
        """A sentence on the images without an answer; none if there are none."""
        if not self.missing:
            return ()
        total = len(self.tally) + len(self.missing)
        return (
            f"{self.name} has no answer to {len(self.missing)} of {total} images, which are not "
            f"judged: {few(self.missing, SHOWN)}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """Where a run keeps its answers to a split, and what it says of them."""

    stem: str
    record: str
    hashes: Mapping[str, str] | None
    classes: tuple[str, ...]
    inputs: Mapping[str, Any] | None
    unread: frozenset[str]


def read_stored(
    run: Run, task: TaskSpec, dataset: Dataset, split: str, contents: Contents, *, name: str
) -> Stored:
    """Reads what a run has stored of a split, and checks that it is of these data.

    Args:
        run: A finished run.
        task: What it must answer.
        dataset: Split data.
        split: The split.
        contents: Hashes of the files.
        name: What the run is called.

    Raises:
        DataError: The run is of another task, has other classes or frames, has stored no answers of
            the split, or answered other images or other truth; or its files are damaged.
    """
    record = run.read_finished()
    own = record["request"].get("task", FIRST_TASK).rpartition("/")[2]
    if own != task.name:
        raise DataError(
            f"the run answers the task {own}, not {task.name}",
            whose=str(run.folder),
            fix=f"name a run of the task {task.name}",
            code="data/other-task",
        )
    source = _source_of(run, record, split)
    _check_form(run, source, dataset)
    if source.hashes is not None:
        check_hashes(run.folder, source.hashes, source.stem, record=source.record)
    tallies = task.judge.load(run.folder, source.stem)
    if not tallies:
        raise DataError(
            f"the stored answers of the {split} split are gone",
            whose=str(run.folder),
            fix="evaluate that run again",
            code="data/no-tallies",
        )
    task.judge.check(tallies)
    samples = dataset.split(split)
    notes = _check_images(run, source, tallies[0].ids, samples, split, contents, name)
    model = kept_model(run)
    if model != SPECIALIST:
        notes += (f"the specialist of {name} is judged, and that run answers by the {model}",)
    whole = Stored(
        run=run,
        name=name,
        tally=tallies[0],
        missing=(),
        content=sha256_of_files(run.folder, run.folder.glob(f"{source.stem}.*")),
        notes=notes,
    )
    return whole.of([sample.id for sample in samples])


def _source_of(run: Run, record: Mapping[str, Any], split: str) -> _Source:
    path = run.folder / _RESULT
    result = read_result(path) if path.is_file() else None
    if result is not None and result["split"] == split:
        return _Source(
            stem=PREDICTIONS,
            record=_RESULT,
            hashes=result.get("files"),
            classes=tuple(result.get("classes") or run.classes()),
            inputs=(result.get("inputs") or {}).get(split),
            unread=frozenset(one["id"] for one in result["skipped"]),
        )
    if split == "val":
        return _Source(
            stem=VALIDATION,
            record=_RECORD,
            hashes=record.get("files"),
            classes=run.classes(),
            inputs=(record["request"].get("data") or {}).get(split),
            unread=frozenset(one["id"] for one in record.get("skipped", ())),
        )
    if result is None:
        raise DataError(
            "the run has stored no answers",
            whose=str(run.folder),
            fix=f"evaluate it: moekit evaluate KIT --data D --run {run.folder} --split {split}",
            code="data/no-result",
        )
    raise DataError(
        f"the run has stored answers of the {result['split']} split, not of {split}",
        whose=str(run.folder),
        fix=f"evaluate it with --split {split}, or both with --split {result['split']}",
        code="data/other-split",
    )


def _check_form(run: Run, source: _Source, dataset: Dataset) -> None:
    """Refuses answers of other classes or frames."""
    if source.classes != dataset.classes:
        raise DataError(
            f"the answers are of the classes {', '.join(source.classes[:5])}, the data have "
            f"{', '.join(dataset.classes[:5])}",
            whose=str(run.folder),
            fix="name a run on data with the same classes",
            code="data/other-classes",
        )
    if run.frames() != dataset.frames:
        raise DataError(
            f"the answers are of stacks of {run.frames()} frames, the data have {dataset.frames}",
            whose=str(run.folder),
            fix="name a run on data with as many frames",
            code="data/frame-count",
        )


def _check_images(
    run: Run,
    source: _Source,
    answered: Sequence[str],
    samples: Sequence[Sample],
    split: str,
    contents: Contents,
    name: str,
) -> tuple[str, ...]:
    """Refuses answers to other images; returns a sentence if their content is not known."""
    ids = {sample.id for sample in samples}
    strange = [one for one in answered if one not in ids]
    if strange:
        raise DataError(
            f"{len(strange)} of {len(answered)} stored answers are of no image of the {split} "
            f"split, such as {strange[0]}: its data were split otherwise",
            whose=str(run.folder),
            fix="name a run that was adapted with the same data, seed and groups",
            code="data/other-split",
        )
    if source.inputs is None:
        return (f"{name} does not say what its images held: they are matched by their ids only",)
    known = {*answered, *source.unread}
    now = fingerprint([one for one in samples if one.id in known], contents)
    found = [one for one in changes({split: source.inputs}, {split: now}) if "groups" not in one]
    if found:
        raise DataError(
            f"the data are not those that were answered: {', '.join(found)} differ",
            whose=str(run.folder),
            fix="evaluate that run on the data as they are now",
            code="data/changed",
        )
    return ()
