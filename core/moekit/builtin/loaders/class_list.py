"""Lists of the classes of masks: their names, the numbers and colours that masks hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from moekit.builtin.loaders.rows import read_rows
from moekit.data.mask_table import IGNORED, Colour, MaskTable
from moekit.data.options import composed, whole_number
from moekit.errors import DataError
from moekit.files import read_text
from moekit.text import many

IGNORE = "ignore"
"""The name of lines whose pixels do not count."""

LISTS = ("classes.csv", "classes.txt")
_COLOURS = ("red", "green", "blue")
_LARGEST = 65535


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassList:
    """Names of classes, and what masks hold for them.

    Attributes:
        names: In the order of the class numbers.
        table: What the values and colours of masks mean.
    """

    names: tuple[str, ...]
    table: MaskTable


def read_class_list(path: Path, *, ignore: int | None = None) -> ClassList:
    """Reads `number,name[,red,green,blue]` lines, or one name a line.

    A CSV begins with a header of these columns. A text file has one name a line, numbered from 0.
    The name `ignore` marks pixels that do not count, and may come again. Class numbers follow the
    order of the lines, whatever numbers masks hold for them.

    Args:
        path: `.csv`, or any other ending for a text file.
        ignore: One more number that does not count.

    Raises:
        DataError: The list cannot be read, names fewer than two classes, or says something twice.
    """
    if path.suffix.lower() == ".csv":
        rows = read_rows(path, needed=("number", "name"), known=("number", "name", *_COLOURS))
        entries = [_entry(row, f"{path}, line {line}") for line, row in rows]
    else:
        entries = _named(_lines(path))
    return _listed(entries, ignore, str(path))


def inline_class_list(text: str, *, ignore: int | None = None) -> ClassList:
    """The classes of a list of names with commas, numbered from 0.

    Raises:
        DataError: As of `read_class_list`.
    """
    names = [name.strip() for name in text.split(",")]
    return _listed(_named(names), ignore, f"the option classes={text[:60]}")


_Entry = tuple[int, str, Colour | None, str]
"""Number, name, colour and where it is written."""


def _named(names: Iterable[str]) -> list[_Entry]:
    return [(number, name, None, f"line {number + 1}") for number, name in enumerate(names)]


def _lines(path: Path) -> list[str]:
    try:
        text = read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(f"it cannot be read ({error})", str(path)) from error
    return [composed(line.strip()) for line in text.splitlines() if line.strip()]


def _entry(row: Mapping[str, str], where: str) -> _Entry:
    given = [row.get(name, "") for name in _COLOURS]
    colour: Colour | None = None
    if any(given):
        red, green, blue = (_number(text, 255, where) for text in given)
        colour = (red, green, blue)
    return _number(row["number"], _LARGEST, where), row["name"], colour, where


def _number(text: str, most: int, where: str) -> int:
    number = whole_number(text, most=most)
    if number is None:
        raise _fault(f"{text[:60]!r} is no whole number from 0 to {most}", where)
    return number


def _listed(entries: Iterable[_Entry], ignore: int | None, whose: str) -> ClassList:
    names: dict[str, int] = {}
    values: dict[int, int] = {}
    colours: dict[Colour, int] = {}
    for number, name, colour, where in entries:
        if not name:
            raise _fault("a class has no name", f"{whose}, {where}")
        counts = name.lower() != IGNORE and number != ignore
        if counts and name in names:
            raise _fault(f"the class {name!r} is listed twice", f"{whose}, {where}")
        if number in values or (colour is not None and colour in colours):
            raise _fault(f"the number or colour of {name!r} is listed twice", f"{whose}, {where}")
        place = len(names) if counts else IGNORED
        if counts:
            names[name] = place
        values[number] = place
        if colour is not None:
            colours[colour] = place
    if ignore is not None:
        values[ignore] = IGNORED
    if len(names) < 2:
        raise _fault(f"it names {many(len(names), 'class', 'classes')}; there must be two", whose)
    return ClassList(names=tuple(names), table=MaskTable(values=values, colours=colours))


def _fault(what: str, whose: str) -> DataError:
    return DataError(
        f"the list of classes cannot be used: {what}",
        whose=whose,
        fix=f"write lines of number,name[,red,green,blue]; the name {IGNORE!r} for no class",
        code="data/class-list",
    )
