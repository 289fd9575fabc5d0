"""How many items of each class the splits have, and whether a split is made up as another.

What is chosen and calibrated on one split is for items that are made up alike.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moekit.data.samples import Sample

_GREATEST_SHIFT = 0.1
_LEAST_P = 0.01
"""A shift is reported from this share of items that differ in class, and below this p-value."""


def count_classes(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, int]:
    """How many samples each class has, by name; empty if samples may have several classes."""
    if any(sample.labels is not None for sample in samples):
        return {}
    found = np.bincount(
        [sample.label for sample in samples if 0 <= sample.label < len(classes)],
        minlength=len(classes),
    )
    return {name: int(count) for name, count in zip(classes, found, strict=True)}


def shift_between(known: Mapping[str, int], found: Mapping[str, int]) -> dict[str, Any] | None:
    """How far the make-up of two splits lies apart.

    Args:
        known: Counts of the split that something was chosen on.
        found: Counts of the split that it is used on.

    Returns:
        `distance`, the share of items that would have to be of another class (total variation,
        0 to 1), `p` of the chi-square test that both are drawn alike, and `shifted`; None if they
        cannot be compared.
    """
    from scipy import stats  # type: ignore[import-untyped]

    names = [name for name in known if known[name] + found.get(name, 0)]
    table = np.array([[counts.get(name, 0) for name in names] for counts in (known, found)])
    if len(names) < 2 or set(known) != set(found) or not table.sum(1).all():
        return None
    shares = table / table.sum(1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    p = float(stats.chi2_contingency(table, correction=False).pvalue)
    return {"distance": distance, "p": p, "shifted": distance >= _GREATEST_SHIFT and p < _LEAST_P}


def shifts_in_words(
    counts: Mapping[str, Mapping[str, int]], split: str
) -> tuple[dict[str, Any], list[str]]:
    """How a split lies apart from those that a run was made with, and sentences on what matters.

    Args:
        counts: Counts of `train`, `val` and the split, by the split's name.
        split: The one that was evaluated.
    """
    shifts, told = {}, []
    uses = {"val": "what was chosen and calibrated there", "train": "what was learned there"}
    pairs = [(first, split) for first in ("val", "train") if first != split]
    for first, second in (*pairs, ("train", "val")):
        if first not in counts or second not in counts or f"{first}/{second}" in shifts:
            continue
        found = shift_between(counts[first], counts[second])
        if found is None:
            continue
        shifts[f"{first}/{second}"] = found
        if found["shifted"]:
            told.append(
                f"the classes are made up otherwise in {second} ({_shares(counts[second])}) than "
                f"in {first} ({_shares(counts[first])}): {uses[first]} is for another make-up"
            )
    return shifts, told


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{count / total:.0%} {name}" for name, count in ordered)
