"""What stands behind `--data LOADER=`: a path and, after a question mark, options.

`PATH?name=value&name=value`. A name that exists on disk is a path as a whole, so a question mark in
the name of a folder does no harm. Some shells want the whole in
quotation marks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from moekit import DataError

MOST_SLICES = 63
"""More slices than this are no neighbourhood."""

HU_LIMIT = 32768
"""Windows must lie within plus and minus this: CT values fit 16 bits."""


def parse_source(path: Path | None, *, known: Collection[str]) -> tuple[Path, Mapping[str, str]]:
    """Separates the path from the options.

    The error for a path that is not there repeats its last part, which is what was typed; no other
    message of the loaders holds any part of a path.

    Args:
        path: As it was typed.
        known: Names of the options.

    Returns:
        A path that exists, and the options given.

    Raises:
        DataError: There is nothing at the path, or an option is unknown, empty or given twice.
    """
    if path is None:
        raise _missing("no path was given")
    options: dict[str, str] = {}
    if not _exists(path) and "?" in str(path):
        name, _, text = str(path).rpartition("?")
        path = Path(name)
        for part in filter(None, text.split("&")):
            key, _, value = part.partition("=")
            if key not in known or key in options or not value:
                raise _wrong_option(key, known)
            options[key] = value
    if not _exists(path):
        raise _missing(path.name)
    return path, options


def parse_window(text: str | None, *, default: tuple[float, float]) -> tuple[float, float]:
    """The window `LOW,HIGH` in HU.

    Raises:
        DataError: It is not two numbers, the lower first.
    """
    if text is None:
        return default
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not -HU_LIMIT <= low < high <= HU_LIMIT:  # not a number compares false
        raise DataError(
            "the window is not two numbers of HU, the lower first",
            whose="the option window",
            fix="write it as in ?window=-1000,400",
        )
    return low, high


def parse_slices(text: str | None) -> int:
    """How many slices a sample has; 1 where nothing is said.

    Raises:
        DataError: It is not an odd number from 1 to `MOST_SLICES`.
    """
    try:
        slices = 1 if text is None else int(text)
    except ValueError:
        slices = 0
    if not 1 <= slices <= MOST_SLICES or slices % 2 == 0:
        raise DataError(
            f"the number of slices is not an odd number from 1 to {MOST_SLICES}",
            whose="the option slices",
            fix="write it as in ?slices=5: the slice of the place and two on each side of it",
        )
    return slices


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False


def _missing(name: str) -> DataError:
    return DataError("there is nothing at this path", whose=name, fix="check the path after `=`")


def _wrong_option(key: str, known: Collection[str]) -> DataError:
    fault = "it has no value or is given twice" if key in known else "there is no such option"
    return DataError(
        f"the option cannot be used: {fault}",
        whose=f"the option {key[:40]!r}",
        fix=f"known options: {', '.join(sorted(known))}; write ?NAME=VALUE after the path",
    )
