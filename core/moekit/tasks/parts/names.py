"""Names of items in tallies, and the error of a tally that cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moekit.errors import DataError


def optional_names(names: Sequence[str]) -> tuple[str, ...] | None:
    """The names, or None if all are empty."""
    return tuple(names) if any(names) else None


def names_at(names: tuple[str, ...] | None, rows: Iterable[int]) -> tuple[str, ...] | None:
    """The names at these positions; None if there are none."""
    return None if names is None else tuple(names[row] for row in rows)


def impossible(whose: str, what: str) -> DataError:
    """The error of a tally with impossible values."""
    return DataError(what, whose=whose, fix="run `moekit evaluate` again", code="data/bad-counts")
