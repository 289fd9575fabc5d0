"""What a graph in int8 loses against the same graph in float32: in all, by class and by size.

A mean over classes hides that one class, or all small objects, got lost.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from moekit import MoekitError
from moekit_detection.judging.average import figures_of, mean_of
from moekit_detection.judging.summary import compare
from moekit_detection.judging.tally import DetectTally

LARGEST_LOSS = 0.01
"""Of AP over all, if nobody says otherwise."""
PART = 2.0
"""How many times as much one class or one size may lose."""
LEAST = 20
"""True objects from which a class or a size is looked at: the AP of fewer jumps."""
_SIZES = ("small", "medium", "large")


def quantised(
    fp32: DetectTally, int8: DetectTally, limit: float | None, *, metric: str = "ap"
) -> dict[str, Any]:
    """AP of both graphs, in all and by part, for the export's record.

    Args:
        fp32: Of the validation split.
        int8: Of the same pictures.
        limit: Greatest loss of AP; None for 0.01. A class, or one of COCO's three sizes, with at
            least 20 true objects may lose twice as much.
        metric: Name of the AP that is compared.

    Raises:
        MoekitError: More is lost.
    """
    most = LARGEST_LOSS if limit is None else limit
    parts = list(_parts(fp32, int8))
    (_, _, before, after), *others = parts
    for name, count, one, other in parts:
        allowed = most if name == "all" else PART * most
        if count >= LEAST and not one - other <= allowed:
            raise MoekitError(
                f"int8 loses {one - other:.4f} of {metric} of {name} on {len(int8)} pictures of "
                f"the val split ({one:.4f} to {other:.4f}); at most {allowed:g} is allowed",
                whose="int8",
                fix="export without --int8, or allow more with --max-loss (of all objects; a class "
                f"or a size may lose {PART:g} times as much)",
                code="error/int8-loss",
            )
    paired = compare(int8, fp32, metric=metric)
    return {
        "split": "val",
        "n": len(int8),
        "measure": metric,
        "fp32": before,
        "int8": after,
        "loss": before - after,
        "ci95": None if paired is None else [-bound for bound in reversed(paired["ci95"])],
        "limit": most,
        "parts": {
            name: {"objects": count, "fp32": one, "int8": other, "limit": PART * most}
            for name, count, one, other in others
        },
    }


def _parts(fp32: DetectTally, int8: DetectTally) -> Iterator[tuple[str, int, float, float]]:
    """Name, true objects and AP of both: all first, then classes and sizes that have any."""
    matches, weights = fp32.matches, fp32.weights_I
    before, after = (figures_of(one.matches, one.weights_I) for one in (fp32, int8))
    weight_G = weights[matches.image_G]
    counted_G = matches.counted_GA[:, 0]
    total = int(weight_G[counted_G].sum())
    # Without a true object the AP of all is not a number, which the check refuses.
    yield "all", max(total, LEAST), mean_of(before.ap_AC[0]), mean_of(after.ap_AC[0])
    count_C = np.bincount(
        matches.class_G[counted_G], weight_G[counted_G], minlength=len(fp32.classes)
    )
    for label, name in enumerate(fp32.classes):
        if count_C[label]:
            one, other = (float(figures.ap_AC[0, label]) for figures in (before, after))
            yield f"the class {name}", int(count_C[label]), one, other
    for place, name in enumerate(_SIZES, start=1):
        count = int(weight_G[matches.counted_GA[:, place]].sum())
        if count:
            one, other = (mean_of(figures.ap_AC[place]) for figures in (before, after))
            yield f"{name} objects", count, one, other
