"""Licences as a chain: what something was made from, on which terms, and what that came from.

Nothing here judges: the words are those of whoever stated them, and a reader decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pydantic

from moekit.text import printable

__all__ = ["NOT_RECORDED", "NOT_STATED", "Link", "lines_of", "remarks_on", "stated"]

NOT_STATED = "not stated"
"""The licence of what nobody has named one for."""
NOT_RECORDED = "not recorded"
"""The licence of what an earlier version of moekit made, which kept no chain."""

Kind = Literal["backbone", "data", "form", "plugin", "run", "weights"]
_NOBODY = frozenset({"", "-", "?", "none", "unknown", "yours", "of each set", NOT_STATED})
_LONGEST = 200
_LIMITS = {
    "non-commercial": re.compile(r"\bNC\b|non[- ]?commercial", re.IGNORECASE),
    "research only": re.compile(r"\bresearch\b|\bacademic\b", re.IGNORECASE),
    NOT_STATED: re.compile(f"^{NOT_STATED}"),
    NOT_RECORDED: re.compile(f"^{NOT_RECORDED}"),
}
"""What is said of a licence, by the words in it."""


class Link(pydantic.BaseModel):
    """A part of a chain.

    Attributes:
        what: Kind of part; `weights` are those that something was distilled or trained on from.
        name: What it is called.
        licence: SPDX identifier or the words of the source; `NOT_STATED`, `NOT_RECORDED`.
        by: Who states the licence.
        source: Where the part comes from.
        made_from: What it was learned, distilled or begun from.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    what: Kind
    name: str
    licence: str = pydantic.Field(min_length=1)
    by: str = ""
    source: str = ""
    made_from: list[Link] = []


def stated(licence: str | None) -> str:
    """The words on one printable line, or `NOT_STATED` if they say nothing."""
    text = printable(" ".join((licence or "").split()), most=_LONGEST)
    return NOT_STATED if text.lower() in _NOBODY else text


def walk(links: Sequence[Link], depth: int = 0) -> Iterator[tuple[int, Link]]:
    """Each part with how deep it lies, what it was made from behind it."""
    for link in links:
        yield depth, link
        yield from walk(link.made_from, depth + 1)


def remarks_on(links: Sequence[Link]) -> str:
    """One sentence that names the parts whose licence has limits or is not known; else empty."""
    told: dict[str, list[str]] = {}
    for _, link in walk(links):
        for limit, words in _LIMITS.items():
            named = f"{link.what} {link.name}"
            if words.search(link.licence) and named not in told.setdefault(limit, []):
                told[limit].append(named)
    parts = [f"{limit}: {', '.join(names)}" for limit, names in told.items() if names]
    if not parts:
        return ""
    return f"licences of what it is made from: {'; '.join(parts)} (no legal advice)"


def lines_of(links: Sequence[Link]) -> list[str]:
    """The chain as text, a line for each part; what it was made from is indented."""
    lines = []
    for depth, link in walk(links):
        by = f" (by {link.by})" if link.by else ""
        source = f"; {link.source}" if link.source else ""
        lead = "made from " if depth else ""
        lines.append(f"{'  ' * depth}{lead}{link.what} {link.name}: {link.licence}{by}{source}")
    return lines


def read_links(record: Mapping[str, Any]) -> tuple[Link, ...] | None:
    """The chain that a checked record holds; None if an earlier version wrote the record."""
    parts = (record.get("licences") or {}).get("parts")
    return None if parts is None else tuple(Link.model_validate(part) for part in parts)


class Licences(pydantic.BaseModel):
    """What run.json, result.json and export.json say of licences.

    Attributes:
        parts: The chain.
        remarks: See `remarks_on`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    parts: list[Link]
    remarks: str = ""


def as_json(links: Sequence[Link]) -> dict[str, Any]:
    """The record of a chain."""
    return Licences(parts=list(links), remarks=remarks_on(links)).model_dump()
