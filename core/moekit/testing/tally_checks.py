"""Checks of tasks: of their tallies, the files and the points that are made from them.

Shapes: N items of a split.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moekit.contract.tasks import TaskSpec
from moekit.errors import DataError, UsageError
from moekit.testing.check import check
from moekit.testing.examples import private_folders
from moekit.testing.subject import Subject
from moekit.testing.task_bench import Bench, ready_for_json
from moekit.testing.verdicts import ConformanceError, require

_STEM = "tally"


def _bench(subject: Subject, name: str, folder: Path) -> Bench:
    spec: TaskSpec = subject.record("tasks", name)
    return Bench(spec, folder, home=subject.plugin.distribution)


@check("task")
def tallies_in_any_batches(subject: Subject, name: str) -> None:
    """Batches of any sizes add up to the same tally."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        found = bench.answered("test")
        whole = bench.tally(found, batch=len(found.items))
        require(len(whole) == len(found.items), f"a tally of {len(whole)} items")
        require(list(whole.ids) == [item.id for item in found.items], "the ids are in other order")
        wanted = bench.fields(whole)
        require(any(value is not None for value in wanted.values()), "it has no field to measure")
        for batch in (1, 3):
            parts = bench.tally(found, batch=batch)
            _require_same_fields(wanted, bench.fields(parts), f"in batches of {batch}")
        bench.spec.judge.check([whole])
        ready_for_json(bench.spec.judge.facts(whole), "judge.facts")


def _require_same_fields(wanted: dict[str, Any], found: dict[str, Any], when: str) -> None:
    for name, value in wanted.items():
        try:
            np.testing.assert_array_equal(found[name], value)
        except AssertionError as error:
            raise ConformanceError(f"{name} is another {when}") from error


@check("task")
def takes_items(subject: Subject, name: str) -> None:
    """A tally of some items has their ids, strata and fields, in that order."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        whole = bench.tally(bench.answered("test"))
        _check_lengths(whole, "the tally")
        rows = np.array([2, 0, 2, 1])
        part = whole.take(rows)
        require(len(part) == len(rows), f"{len(rows)} items were taken, {len(part)} are there")
        _check_lengths(part, "what was taken of it")
        require(list(part.ids) == [whole.ids[row] for row in rows], "the ids are others")
        wanted = {
            key: value[rows] if isinstance(value, np.ndarray) else value
            for key, value in bench.fields(whole).items()
        }
        _require_same_fields(wanted, bench.fields(part), "once items are taken")
        strata = {"strata_N": part.strata_N}
        _require_same_fields({"strata_N": whole.strata_N[rows]}, strata, "once items are taken")


def _check_lengths(tally: Any, what: str) -> None:
    for name in ("ids", "groups", "subtypes", "strata_N"):
        value = getattr(tally, name)
        fits = value is None or len(value) == len(tally)
        require(fits, f"{what} has {len(tally)} items, its {name} another number")
    require(tally.strata_N.dtype.kind in "iub", "strata_N are no integers")


@check("task")
def keeps_tallies_in_files(subject: Subject, name: str) -> None:
    """What is saved is loaded again, and no files give no tallies.

    A damaged file is named, or is one that is written for people only: the tallies are the same
    without it.
    """
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        found = bench.answered("val")
        tallies = (bench.tally(found), bench.tally(found))
        judge = bench.spec.judge
        for count in (1, 2):
            home = folder / f"of-{count}"
            home.mkdir()
            files = judge.save(home, _STEM, tallies[:count])
            there = sorted(path.relative_to(home).as_posix() for path in _files(home))
            require(sorted(files) == there, f"it says {sorted(files)} and writes {there}")
            odd = [file for file in files if not file.startswith(_STEM)]
            require(bool(files) and not odd, f"files must begin with {_STEM!r}: {odd or files}")
            loaded = judge.load(home, _STEM)
            require(len(loaded) == count, f"{count} tallies were saved, {len(loaded)} are loaded")
            for was, now in zip(tallies, loaded, strict=False):
                require(tuple(was.ids) == tuple(now.ids), "the ids are others once loaded")
                _require_same_fields(bench.fields(was), bench.fields(now), "once loaded")
        for file in files:
            _check_damage(bench, home, home / file, loaded)
        nothing = folder / "nothing"
        nothing.mkdir()
        require(not judge.load(nothing, _STEM), "an empty folder holds no tally")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _check_damage(bench: Bench, home: Path, path: Path, whole: Sequence[Any]) -> None:
    content = path.read_bytes()
    # Of a table with rows, within the first cell of a row; else in the middle.
    cut = content.rfind(b"\n", 0, len(content) // 2) + 2
    path.write_bytes(content[:cut])
    try:
        loaded = bench.spec.judge.load(home, _STEM)
    except DataError as error:
        require(path.name in str(error), f"a damaged {path.name} is not named: {error.what}")
    except Exception as error:
        raise ConformanceError(
            f"a damaged {path.name} raises a {type(error).__name__}, not a DataError"
        ) from error
    else:
        what = f"from a damaged {path.name}, read as if it were whole"
        require(len(loaded) == len(whole), f"there are {len(loaded)} tallies {what}")
        for was, now in zip(whole, loaded, strict=True):
            require(tuple(was.ids) == tuple(now.ids), f"the ids are others {what}")
            _require_same_fields(bench.fields(was), bench.fields(now), what)
    path.write_bytes(content)


@check("task")
def chooses_points(subject: Subject, name: str) -> None:
    """The first rule chooses a point, or None, from the validation tally; it is ready for JSON.

    Another rule does too, or refuses such data by a `DataError` or `UsageError`.
    """
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        judge, tally = bench.spec.judge, bench.tally(bench.answered("val"))
        for rule in [rule for rule in judge.rules if "=" not in rule] or [""]:
            try:
                point = judge.choose(tally, rule)
            except (DataError, UsageError):
                require(rule != judge.rules[0], f"the rule {rule} refuses the task's own example")
                continue
            if point is not None:
                ready_for_json(point.as_json(), f"the point of {rule!r}")
                ready_for_json(point.brief(), f"the point of {rule!r} in brief")
            ready_for_json(judge.words(bench.context, point), "judge.words")


@check("task")
def finds_the_worst(subject: Subject, name: str) -> None:
    """The worst items are positions in the tally, each once for a kind of mistake."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        tally = bench.tally(bench.answered("test"))
        for kind, rows in tally.worst(bench.point()).items():
            wrong = [row for row in rows if not 0 <= row < len(tally)]
            require(not wrong, f"{kind}: {wrong[:3]} of {len(tally)} items")
            require(len(set(map(int, rows))) == len(rows), f"{kind}: an item comes twice")
