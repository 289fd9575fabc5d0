"""Sentences on near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moekit.data.near.find import Found
from moekit.errors import MoekitError

FLAG = "--group-near-duplicates"
FAULTS = (MoekitError, ArithmeticError, LookupError, OSError, RuntimeError, ValueError)
"""Failures of a search, which are recorded and stop nothing."""


def pairs_in_words(found: Found, split: str, others: Sequence[str]) -> list[str]:
    """Sentences on near-duplicates between splits.

    Args:
        found: What was found.
        split: The split that is judged.
        others: The splits that were learned or chosen from.
    """
    told = []
    items = items_of(found, split)
    if items:
        told.append(
            f"{len(items)} image{'s' * (len(items) != 1)} of {split} "
            f"{'have' if len(items) != 1 else 'has'} a near-duplicate in {' or '.join(others)}, "
            f"such as {items[0]}: figures may be too good; "
            f"`moekit adapt {FLAG}` makes them groups"
        )
    return told + gaps_in_words(found)


def items_of(found: Found, split: str) -> list[str]:
    """Ids of the items of a split that have a near-duplicate, the most alike first."""
    ids = (
        sample.id
        for pair in found.pairs
        for sample in (pair.first, pair.second)
        if sample.split == split
    )
    return list(dict.fromkeys(ids))


def gaps_in_words(found: Found) -> list[str]:
    """What the search left out."""
    told = []
    if found.candidates > found.verified:
        told.append(
            f"near-duplicates were looked for among the {found.verified} most alike of "
            f"{found.candidates} candidate pairs; the others were not compared by pixels"
        )
    if not found.by_spectra:
        told.append(
            "near-duplicates were looked for by features only, since these are many pictures; "
            "turned and mirrored copies may be missed"
        )
    if found.unread:
        told.append(
            f"{found.unread} candidate pairs of near-duplicates could not be compared, since a "
            "picture cannot be read"
        )
    return told


def why_failed(error: Exception) -> str:
    """What stopped a search, in words."""
    return error.what if isinstance(error, MoekitError) else f"{type(error).__name__}: {error}"


def failed(error: Exception) -> dict[str, Any]:
    """The record of a search that failed."""
    why = why_failed(error)
    told = f"near-duplicates were not looked for, since the search failed ({why})"
    return {"checked": False, "why": why, "in_words": [told]}
