"""The folders that moekit writes: known again by what they hold, and kept apart from other things.

Pictures in them are answers and drawings of answers, so whatever looks for pictures passes over
them. A command writes into a new folder, an empty one, or one that it has written itself. Files
that a system hides in every folder count for nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from moekit.errors import UsageError
from moekit.files import check_plain
from moekit.text import few, many, visible_name

__all__ = [
    "ANSWERS",
    "BENCHMARK",
    "CORRECTIONS",
    "EXPORT",
    "PRETRAINING",
    "RESULT",
    "RUN",
    "WATCH",
    "check_vacant",
    "kind_of_output",
    "outputs_note",
]

RUN: Final = "a run"
RESULT: Final = "a result"
ANSWERS: Final = "answers of predict"
WATCH: Final = "answers of watch"
EXPORT: Final = "an export"
BENCHMARK: Final = "a benchmark"
PRETRAINING: Final = "a pretraining"
CORRECTIONS: Final = "corrections of a kit"

_HEAD = 4096
_NAMED = 3
_HIDDEN = frozenset({"thumbs.db", "desktop.ini"})


class _Mark(NamedTuple):
    """A file by which a folder is known, and what must be said at its beginning."""

    kind: str
    keys: tuple[str, ...]


_MARKS: Mapping[str, _Mark] = {
    "run.json": _Mark(RUN, ("schema", "request", "kit")),
    "near_duplicates_groups.json": _Mark(RUN, ()),
    "export.json": _Mark(EXPORT, ("schema", "format", "kit")),
    "predictions.jsonl": _Mark(ANSWERS, ("kit", "kit_sha256")),
    "results.jsonl": _Mark(WATCH, ("kit", "kit_sha256")),
    "golden.json": _Mark(WATCH, ("schema", "created", "made_with")),
    "series.json": _Mark(ANSWERS, ("disclaimer", "settings", "provenance")),
    "summary.json": _Mark(ANSWERS, ("disclaimer", "settings", "provenance")),
    "result.json": _Mark(RESULT, ("schema", "kit", "dataset")),
    "merge.json": _Mark(RUN, ("schema", "by", "weigh")),
    "pretrain.json": _Mark(PRETRAINING, ("schema", "request")),
    "corrections.json": _Mark(CORRECTIONS, ("schema", "kit", "task", "classes")),
    "bench.json": _Mark(BENCHMARK, ("command", "versions", "baseline")),
}
_NAMES = frozenset(_MARKS)


def kind_of_output(
    folder: str | Path, names: Collection[str] | None = None, *, begun: bool = False
) -> str:
    """What moekit wrote into a folder, in words such as `RUN`; empty if it wrote nothing there.

    Args:
        folder: Any folder.
        names: Names of its files, if they are known.
        begun: Whether a journal counts whose first line was cut off when it was written, or says
            that its rows depend on other things than a run.
    """
    there = _NAMES if names is None else _NAMES.intersection(names)
    for name, (kind, keys) in _MARKS.items():
        if name in there and _says(Path(folder, name), keys, begun=begun):
            return kind
    return ""


def check_vacant(folder: Path, *kinds: str) -> None:
    """Refuses an output folder that holds other things than a command writes there.

    Args:
        folder: The folder; it may be missing.
        kinds: What may be there, as of `kind_of_output`.

    Raises:
        UsageError: It holds something else.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if not _is_hidden(name))  # noqa: PTH208
    except OSError:  # whatever writes there says what is wrong
        return
    found = kind_of_output(folder, names, begun=True)
    if not names or found in kinds:
        return
    shown = few([visible_name(name) for name in names], _NAMED)
    wanted = " or ".join(kinds) or "nothing"
    raise UsageError(
        f"the folder holds {found or 'other things'} ({shown}), not {wanted}",
        whose=str(folder),
        fix="choose a new or an empty folder",
        code="usage/foreign-folder",
    )


def outputs_note(found: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """A sentence on folders that are passed over, if there are any.

    Args:
        found: Path below the folder that is looked through, and kind, of each.
    """
    if not found:
        return ()
    named = ", ".join(f"{visible_name(path)} ({kind})" for path, kind in sorted(found))
    what = many(len(found), "folder that moekit wrote is", "folders that moekit wrote are")
    return (f"{what} left out: {named}",)


def _says(path: Path, keys: Sequence[str], *, begun: bool) -> bool:
    try:
        check_plain(path)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    if path.suffix == ".jsonl" and begun:
        return head[:1] in (b"", b"{")
    text = head.decode("utf-8", "replace")
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return False
    return all(re.search(rf'"{key}"\s*:', text) for key in keys)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _HIDDEN
