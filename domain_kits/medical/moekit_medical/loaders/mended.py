"""What was mended or assumed when volumes were read, kept with the pictures, for notes on a set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from moekit.files import to_json
from moekit_medical.loaders.cache import Cached, Writer

_NOTE = "repairs"
_MOST = 8
"""Sentences that are reported of a set; others are counted."""


def note_repairs(writer: Writer, volumes: Iterable[Sequence[str]]) -> None:
    """Keeps the repairs of volumes; nothing of those that have none."""
    mended = [list(repairs) for repairs in volumes if repairs]
    if mended:
        writer.note(_NOTE, to_json(mended))


def repairs_in(images: Cached) -> list[list[str]]:
    """What `note_repairs` kept."""
    found: list[list[str]] = json.loads(images.notes.get(_NOTE, "[]"))
    return found


def words_of(volumes: Sequence[Sequence[str]]) -> str:
    """Words for `Dataset.source`, empty if nothing was mended.

    Args:
        volumes: The repairs of each volume that has any.
    """
    if not volumes:
        return ""
    count = Counter(sentence for repairs in volumes for sentence in repairs)
    told = [f"{sentence} ({number})" for sentence, number in count.most_common(_MOST)]
    rest = len(count) - len(told)
    more = f" And {rest} others." if rest else ""
    was = "were" if len(volumes) > 1 else "was"
    return f"; {len(volumes)} of the volumes {was} mended in reading: {' '.join(told)}{more}"
