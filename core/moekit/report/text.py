"""Text of files and plugins, as a page may show it."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from markupsafe import Markup, escape

_LONGEST = 500
_TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_COMMAND = re.compile(r"`([^`\n]{1,200})`")
_NUMBER = re.compile(r"[+\u2212-]?\d[\d.,]*%?( \w+)?|undefined|", re.ASCII)


def readable(value: Any) -> Any:
    """Text that cannot disguise itself: control and direction signs are spelt out, length cut.

    Anything but plain text is returned as it is.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if len(value) > _LONGEST:
        value = f"{value[:_LONGEST]} ..."
    return "".join(
        f"<U+{ord(sign):04X}>"
        if sign in _TURNING or (unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t")
        else sign
        for sign in value
    )


def with_code(text: str) -> Markup:
    """Readable and escaped text, in which what stands between backticks is set as code."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(readable(text)))))  # noqa: S704


def are_numbers(cells: list[str]) -> bool:
    """Whether every cell is a number, with at most one word behind it, and not all are empty."""
    return any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)
