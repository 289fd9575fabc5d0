"""The section of a report on near-duplicates across splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moekit.contract.report import ReportSection, ReportTable
from moekit.report.drawing import Drawn, draw
from moekit.report.run_files import PagePicture, read_pictures

BUDGET = 400_000
"""Bytes that its pictures may take."""
_LISTED = 100
_HOW = (
    "Near-duplicates are pictures that show the same: another exposure, cut, size, compression or "
    "mirror. Frozen features name candidates; a pair counts if its pixels, laid on each other, are "
    "far more alike than those of pairs drawn at random. Frames of a video that are further apart "
    "are mostly not found."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearSection:
    """What the page says of near-duplicates.

    Attributes:
        drawn: Its words and tables.
        pictures: Pictures of pairs, by the command that found them.
    """

    drawn: Drawn
    pictures: Mapping[str, list[PagePicture]]


def near_section(
    run: Path, result: Mapping[str, Any], record: Mapping[str, Any]
) -> NearSection | None:
    """The section; None if neither command looked for them.

    Args:
        run: The run folder.
        result: The content of result.json.
        record: The content of run.json.
    """
    parts = {
        "evaluate": result.get("near_duplicates") or {},
        "adapt": record.get("near_duplicates") or {},
    }
    grouped = (record.get("request") or {}).get("grouped") or {}
    if not any(parts.values()):
        return None
    told = [
        *grouped.get("in_words", ()),
        *(one for part in parts.values() for one in _in_words(part)),
    ]
    rows = [row for part in parts.values() for row in _rows(part)]
    columns = ("likeness", "one", "split", "other", "split", "fit")
    tables = (ReportTable(columns=columns, rows=tuple(rows[:_LISTED])),) if rows else ()
    more = (f"The first {_LISTED} of {len(rows)} pairs are listed.",) if len(rows) > _LISTED else ()
    section = ReportSection(
        title="Near-duplicates", paragraphs=tuple(told), tables=tables, notes=(*more, _HOW)
    )
    pictures: dict[str, list[PagePicture]] = {}
    for name, part in parts.items():
        found = read_pictures(run, budget=BUDGET // 2, folder=f"near_duplicates/{name}")
        if part.get("pairs") and found is not None and found.shown:
            pictures[" and ".join(part["between"])] = list(found.shown)
    return NearSection(drawn=draw(section), pictures=pictures)


def _in_words(part: Mapping[str, Any]) -> list[str]:
    if not part:
        return []
    if not part.get("checked"):
        return [*part.get("in_words", ())] or [str(part.get("why", ""))]
    first, *others = part["between"]
    return list(part["in_words"]) or [
        f"No near-duplicates were found between {first} and {' or '.join(others)}."
    ]


def _rows(part: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for pair in part.get("pairs", ()):
        (one, other), (split, other_split) = pair["ids"], pair["splits"]
        likeness = f"{pair['likeness']:.3f}"
        rows.append((likeness, one, split or "", other, other_split or "", pair["fit"]))
    return rows
