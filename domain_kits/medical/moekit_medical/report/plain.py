"""Texts and numbers of a run's files as a report may show them: no path, no name of a patient.

Nobody vouches for the files: a value may be missing, of another type, or hold anything. Every
function gives None for what it cannot show.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeGuard

LEFT_OUT = "(left out: it may hold a path or an identifier)"

_PUBLIC = re.compile(r"https?://\S+|\b10\.\d{4,9}/\S+")
_FILE = "dcm|dicom|png|jpe?g|tiff?|bmp|np[yz]|nii|gz|csv|tsv|json|txt|h5|mhd|raw|zip|xlsx?"
_PRIVATE = re.compile(
    r"(?:^|[\s\"'`=(\[,:;|])(?:~|\.\.?)?[/\\](?=\S)"  # a path from a root or from here
    r"|[A-Za-z]:[\\/]|\\\\"  # a path with a drive or a server
    rf"|[\w.-][/\\][^/\\]*\.(?:{_FILE})\b"  # a file below a folder
    r"|\w\^+\w"  # a person's name (DICOM PS3.5, value representation PN)
    r"|\b\d+(?:\.\d+){4,}"  # a UID (DICOM PS3.5, value representation UI)
    r"|\S@\S",
    re.IGNORECASE,
)
_LARGEST = 1e15
_OPTION = re.compile(r"--[a-z][a-z-]*")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_VALUE = re.compile(r"[\w.:=+-]{1,40}")
_WORDS = frozenset({"adapt", "evaluate", "demo", "medical"})
_HARMLESS = frozenset(
    {
        *("--architecture", "--expert", "--gate", "--top-k"),
        *("--batch-size", "--cache-gib", "--device", "--devices", "--precision"),
        *("--epochs", "--image-size", "--seed", "--split", "--threshold-rule", "--views"),
    }
)
"""Options whose values name no file and no person."""


def at(source: object, *keys: str) -> Any:
    """The value below nested keys, or None if one of them is missing."""
    for key in keys:
        if not isinstance(source, Mapping):
            return None
        source = source.get(key)
    return source


def table(source: object, *keys: str) -> dict[str, Any]:
    """The mapping below nested keys; empty if there is none."""
    found = at(source, *keys)
    return {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}


def text(value: object, *, limit: int = 160) -> str | None:
    """A text in one line, cut to `limit` characters; `LEFT_OUT` if it may name a person.

    Web addresses and DOIs are let through. A name in plain words looks like any other words.
    """
    if not isinstance(value, str):
        return None
    signs = (" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in value)
    line = " ".join("".join(signs).split())
    if _PRIVATE.search(_PUBLIC.sub("", line)):
        return LEFT_OUT
    return (f"{line[:limit]} ..." if len(line) > limit else line) or None


def figure(value: object, digits: int = 3) -> str | None:
    """A finite number with a fixed count of digits after the point."""
    return f"{value:.{digits}f}" if _is_number(value) else None


def count(value: object) -> str | None:
    """A whole number from 0."""
    return str(value) if _is_number(value) and isinstance(value, int) and value >= 0 else None


def scalar(value: object) -> str | None:
    """A number or a truth value in short, or a short text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if _is_number(value) else text(value, limit=40)


def interval(value: object, digits: int = 3) -> str | None:
    """Two numbers as `LOW to HIGH`."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = (figure(end, digits) for end in value)
    return None if low is None or high is None else f"{low} to {high}"


def digest(value: object) -> str | None:
    """A SHA-256 in hexadecimal digits."""
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) else None


def command(value: object) -> str | None:
    """A command line of moekit with `...` in place of all that may be a path or a name."""
    if not isinstance(value, str) or not value.split():
        return None
    shown = ["moekit"]
    for before, word in itertools.pairwise(value.split()):
        option, sign, _ = word.partition("=")
        if _OPTION.fullmatch(option):
            shown.append(f"{option}=..." if sign else option)
        elif (before in _HARMLESS and _VALUE.fullmatch(word)) or word in _WORDS:
            shown.append(word)
        elif before == "--data" and _NAME.fullmatch(option):
            shown.append(f"{option}=..." if sign else option)
        elif shown[-1] != "...":
            shown.append("...")
    return " ".join(shown)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number of a size that figures and counts have; neither nan nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
