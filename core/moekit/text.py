"""Text that others wrote: made fit for a terminal, for JSON and for a cell of a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = [
    "few",
    "first_line",
    "many",
    "plain_cell",
    "printable",
    "raw_name",
    "safe_cell",
    "visible_name",
]

LONGEST_LINE = 2000
"""Characters of a line that `printable` keeps if nothing else is asked for."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:\\|u[0-9a-f]{4})")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_QUOTE = "'"


def printable(text: str, *, most: int = LONGEST_LINE, lines: bool = False) -> str:
    """Text of files and plugins, harmless on a terminal.

    Control characters, those that turn the direction of writing included, become `?`; other white
    space becomes a space; bytes that are no text become escapes. What is too long is cut.

    Args:
        text: Any string.
        most: Most characters that are kept.
        lines: Whether line ends stay as they are.
    """
    kept = visible_name(text[: most + 1]) if _SURROGATE.search(text) else text[: most + 1]
    clean = "".join(
        letter
        if letter.isprintable() or (lines and letter == "\n")
        else (" " if letter.isspace() else "?")
        for letter in kept
    )
    return clean if len(clean) <= most else f"{clean[: most - 3]}..."


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; its type if it says nothing."""
    return next(filter(str.strip, str(error).splitlines()), type(error).__name__).strip()


def many(count: int, one: str, more: str) -> str:
    """A number with the words for one or for several: `many(n, "class is", "classes are")`."""
    return f"{count} {one if count == 1 else more}"


def few(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def visible_name(name: str) -> str:
    r"""A file's name as text that JSON, CSV and terminals can hold.

    Ordinary names stay as they are. Python shows each byte of a name that is no UTF-8 as a lone
    surrogate (PEP 383), which no file can hold. It becomes the escape `\udcNN`. If a name has one,
    or looks as if it had, its backslashes are doubled, so that `raw_name` gives the name back.
    """
    if name.isascii() and "\\" not in name:
        return name
    if not _SURROGATE.search(name) and not _ESCAPE.search(name):
        return name
    doubled = name.replace("\\", "\\\\")
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", doubled)


def raw_name(name: str) -> str:
    """What `visible_name` was given."""

    def back(found: re.Match[str]) -> str:
        return "\\" if found[0] == "\\\\" else chr(int(found[0][2:], 16))

    return _ESCAPE.sub(back, name)


def safe_cell(value: Any) -> Any:
    """A cell of a table that a spreadsheet does not take for a formula.

    Text that begins with one of `= + - @`, a tab or a line end gets an apostrophe before it, unless
    it is a number. `plain_cell` gives the text back. Values that are no text stay as they are.
    (OWASP, "CSV Injection".)
    """
    if not isinstance(value, str) or not value:
        return value
    quoted = value[0] == _QUOTE and value[1:2] in (*_FORMULA, _QUOTE)
    begins = value[0] in _FORMULA and not _is_number(value)
    return f"{_QUOTE}{value}" if quoted or begins else value


def plain_cell(text: str) -> str:
    """What `safe_cell` was given."""
    hidden = text[:1] == _QUOTE and text[1:2] in (*_FORMULA, _QUOTE)
    return text[1:] if hidden else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
