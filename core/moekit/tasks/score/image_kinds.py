"""Names of the kinds of image that a head distinguishes, such as the products of a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

UNKNOWN = "unknown"
"""What an image is called that is of no kind that the kit was trained on."""


def kind_names(kind_B: Iterable[int], kinds: Sequence[str]) -> tuple[str, ...]:
    """(B) names of kinds by their numbers, `UNKNOWN` for negative ones."""
    return tuple(kinds[kind] if kind >= 0 else UNKNOWN for kind in kind_B)
