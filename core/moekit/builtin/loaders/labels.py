"""Class names in their order, and which of two is the negative one."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from moekit.errors import DataError
from moekit.text import many

_EMPTY = ("nan", "none", "null", "n/a", "<na>")
NEGATIVE_NAMES = ("good", "normal", "ok", "negative", "0", "false")


def is_negative_name(name: str) -> bool:
    """Whether a name means the negative class, in upper or lower case."""
    return name.strip().lower() in NEGATIVE_NAMES


def alike_notes(names: Iterable[str]) -> tuple[str, ...]:
    """Sentences on classes whose names look alike or are the same number, and on empty ones.

    Names look alike if they differ in upper and lower case, spaces, marks that nobody sees, or
    forms of the same letters only.
    """
    alike: dict[str | float, list[str]] = {}
    for name in names:
        alike.setdefault(_look(name), []).append(name)
    empty = [name for look, same in alike.items() if look in _EMPTY for name in same]
    return (
        *(
            f"{' and '.join(map(repr, same))} are taken for {len(same)} classes, although their "
            "names are nearly the same"
            for same in alike.values()
            if len(same) > 1
        ),
        *(
            f"{name!r} is taken for the name of a class; if a tool has written it for an empty "
            "cell, leave those lines out"
            for name in empty
        ),
    )


def _look(name: str) -> str | float:
    """The same for names that look alike."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    seen = "".join(letter for letter in plain if letter.isprintable() and not letter.isspace())
    try:
        number = float(seen)
    except ValueError:
        return seen
    return number if math.isfinite(number) else seen


class ClassNames(NamedTuple):
    """The classes of a set.

    Attributes:
        names: In the order of the labels.
        has_negative: Whether there are two and the first is the negative one.
    """

    names: tuple[str, ...]
    has_negative: bool


def order_classes(names: Iterable[str], *, whose: str, told: str = "") -> ClassNames:
    """The classes in their order: of two the negative one first, else as they sort.

    Args:
        names: The class names found; just a negative one will do.
        whose: What an error names.
        told: What was taken for granted, which an error adds.

    Returns:
        Their names. If only a negative one is found, "not NEGATIVE" is the second.

    Raises:
        DataError: There is no class, or one whose name does not mean negative.
    """
    found = sorted(set(names))
    if len(found) == 1 and is_negative_name(found[0]):
        return ClassNames((found[0], f"not {found[0]}"), True)
    if len(found) < 2:
        raise DataError(
            f"{many(len(found), 'class was', 'classes were')} found "
            f"({', '.join(found) or 'none'}), not two{told}",
            whose=whose,
            fix="give two classes: one named good, normal, ok or negative, and one other; or more "
            "of any name",
            code="data/class-count",
        )
    negative = [name for name in found if is_negative_name(name)]
    if len(found) == 2 and len(negative) == 1:
        return ClassNames((negative[0], next(name for name in found if name != negative[0])), True)
    return ClassNames(tuple(found), False)
