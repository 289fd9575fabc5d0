"""The licence of a data set: what its loader says, what lies next to it, what the user says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from moekit.data.options import is_there
from moekit.data.samples import Dataset
from moekit.files import read_plain
from moekit.licences import NOT_STATED, stated

_MOST = 2**16
_FILES = re.compile(r"^(licen[cs]e|copying)([._-].{0,40})?$", re.IGNORECASE)
_README = re.compile(r"^readme(\.(txt|md|rst))?$", re.IGNORECASE)
_FIELD = re.compile(r"^[\W_]*licen[cs]e[\W_]*[:=][\W_]*(\S.*)$", re.IGNORECASE)
_HEADING = re.compile(r"^[\W_]*licen[cs]e[\W_]*$", re.IGNORECASE)
_KNOWN = (
    (r"attribution[- ]noncommercial[- ]sharealike (\d\.\d)", "CC-BY-NC-SA-{}"),
    (r"attribution[- ]noncommercial[- ]noderiv\w* (\d\.\d)", "CC-BY-NC-ND-{}"),
    (r"attribution[- ]noncommercial (\d\.\d)", "CC-BY-NC-{}"),
    (r"attribution[- ]sharealike (\d\.\d)", "CC-BY-SA-{}"),
    (r"attribution (\d\.\d)", "CC-BY-{}"),
    (r"\bcc0 (1\.0)", "CC0-{}"),
    (r"apache license\W+version (2\.0)", "Apache-{}"),
    (r"\bmit license\b()", "MIT{}"),
)
"""How the first lines of well-known licences read, and their SPDX identifiers."""


def with_licence(dataset: Dataset, path: Path | None, given: str | None = None) -> Dataset:
    """A data set whose licence is known as well as it can be, and who states it.

    What the user gives stands before what the loader says, and that before a file next to the
    data. If two say different things, a note of the data set names both.

    Args:
        dataset: As its loader gave it.
        path: What the user named, with options behind it; None if the loader takes no path.
        given: Words of the user.
    """
    beside, file = licence_beside(path)
    told = {
        "the user": stated(given),
        "the loader": stated(dataset.licence),
        file: beside,
    }
    known = {by: text for by, text in told.items() if text != NOT_STATED}
    if not known:
        return dataclasses.replace(dataset, licence=NOT_STATED, licence_by="")
    by, licence = next(iter(known.items()))
    others = [f"{other} says {text!r}" for other, text in known.items() if text != licence]
    notes = dataset.notes
    if others:
        notes += (f"the licence of the data is {licence!r} by {by}; {', '.join(others)}",)
    return dataclasses.replace(dataset, licence=licence, licence_by=by, notes=notes)


def licence_beside(path: Path | None) -> tuple[str, str]:
    """The licence that a file in the folder of the data states, and which kind of file does.

    A file called LICENSE, LICENCE or COPYING is looked for first, then a line `licence: WORDS` or
    a heading of that name in a README. Names of files are left out: runs of some kits hold none.
    """
    folder = None if path is None else _folder(path)
    if folder is None:
        return NOT_STATED, ""
    try:
        names = sorted(one.name for one in folder.iterdir())
    except OSError:
        return NOT_STATED, ""
    for name in filter(_FILES.match, names):
        text = _text(folder / name)
        if text.strip():
            return _name_of(text), "a licence file next to them"
    for name in filter(_README.match, names):
        found = _field(_text(folder / name))
        if found != NOT_STATED:
            return found, "a README next to them"
    return NOT_STATED, ""


def _folder(path: Path) -> Path | None:
    place = Path(str(path).rpartition("?")[0] or path) if not is_there(path) else path
    try:
        return place if place.is_dir() else place.parent if place.is_file() else None
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return read_plain(path, most=_MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def _name_of(text: str) -> str:
    head = " ".join(text[:2000].split()).lower()
    for words, name in _KNOWN:
        found = re.search(words, head)
        if found:
            return name.format(found[1])
    return stated(next(filter(str.strip, text.splitlines()), ""))


def _field(text: str) -> str:
    lines = text.splitlines()
    for number, line in enumerate(lines):
        found = _FIELD.match(line)
        if found:
            return stated(found[1])
        if _HEADING.match(line):
            below = (one for one in lines[number + 1 : number + 4] if re.search(r"\w", one))
            return stated(next(below, ""))
    return NOT_STATED
