"""What stands behind `--data LOADER=`: a path and, after a question mark, options.

`PATH?name=value&name=value`. A name that exists on disk is a path as a whole, so a question mark in
the name of a folder does no harm. Some shells want the whole in quotation marks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from moekit.errors import DataError

PARTIAL = "partial"
"""The option of loaders whose value `yes` says that a set is part of a larger one."""
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


def parse_source(
    path: Path | None, *, known: Collection[str], missing: str = "check the path after `=`"
) -> tuple[Path, Mapping[str, str]]:
    """Separates the path from the options.

    The error for a path that is not there repeats its last part only.

    Args:
        path: As it was typed.
        known: Names of the options.
        missing: What the error for a path that is not there advises.

    Returns:
        A path that exists, and the options given.

    Raises:
        DataError: There is nothing at the path, or an option is unknown, empty or given twice.
    """
    if path is None:
        raise _missing("no path was given", missing)
    options: dict[str, str] = {}
    if not is_there(path) and "?" in str(path):
        name, _, text = str(path).rpartition("?")
        path = Path(name)
        for part in filter(None, text.split("&")):
            key, _, value = part.partition("=")
            if key not in known or key in options or not value:
                raise _wrong_option(key, known)
            options[key] = value
    if not is_there(path):
        raise _missing(path.name, missing)
    return path, options


def is_partial(options: Mapping[str, str]) -> bool:
    """Whether options say that the set is part of a larger one; see `complete_splits`.

    Raises:
        DataError: The option has another value than `yes`.
    """
    given = options.get(PARTIAL)
    if given not in (None, "yes"):
        raise DataError(
            f"the option cannot be used: {given!r} is not yes",
            whose=f"the option {PARTIAL!r}",
            fix=f"write ?{PARTIAL}=yes, or leave it out",
            code="data/bad-option",
        )
    return given is not None


def path_as_stored(folder: Path, name: PurePosixPath) -> Path:
    """The path of a file in the Unicode form in which its name is stored.

    An umlaut is one letter in NFC and two in NFD. Tables, and discs of macOS, differ in that.

    Args:
        folder: Where the name begins.
        name: As a table or an annotation writes it.

    Returns:
        The path of what is there; the name as it is written if nothing is.
    """
    written = folder / name
    text = name.as_posix()
    if text.isascii() or is_there(written):
        return written
    forms = (folder / unicodedata.normalize(form, text) for form in _FORMS)
    return next((path for path in forms if is_there(path)), written)


def composed(name: str) -> str:
    """A name in one Unicode form, NFC, by which names are compared; see `path_as_stored`."""
    return unicodedata.normalize("NFC", name)


def whole_number(text: str, *, most: int, least: int = 0) -> int | None:
    """The number that a text of digits stands for; None if it is none, or out of bounds.

    Args:
        text: Of a file or an option.
        most: The greatest number that is wanted.
        least: The least one, from 0 on.
    """
    digits = text.lstrip("0") or text[-1:]
    # Python refuses to read numbers of thousands of digits.
    if not (text.isascii() and text.isdigit()) or len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if least <= number <= most else None


def is_there(path: Path) -> bool:
    """Whether there is anything at a path; also for names that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False


def _missing(name: str, fix: str) -> DataError:
    return DataError("there is nothing at this path", whose=name, fix=fix, code="data/not-found")


def _wrong_option(key: str, known: Collection[str]) -> DataError:
    fault = "it has no value or is given twice" if key in known else "there is no such option"
    return DataError(
        f"the option cannot be used: {fault}",
        whose=f"the option {key[:40]!r}",
        fix=f"known options: {', '.join(sorted(known))}; write ?NAME=VALUE after the path",
        code="data/bad-option",
    )
