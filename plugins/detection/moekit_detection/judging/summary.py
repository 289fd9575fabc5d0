"""Figures of classes and of sizes with bootstrap intervals, mistakes, and the paired test.

Shapes: N pictures, I matched pictures, C classes, S bins of sizes, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from moekit import SummaryJob
from moekit.evaluation import RESAMPLES, Resamples, interval_entries, paired_bootstrap
from moekit_detection.judging.average import Figures, figures_of, mean_of
from moekit_detection.judging.fixes import gains_of
from moekit_detection.judging.match import BIN_NAMES, COCO_RANGES
from moekit_detection.judging.mistakes import MISSED, NAMES
from moekit_detection.judging.points import thresholds_of
from moekit_detection.judging.tally import DetectTally

SEED = 0
"""Of the paired test, which is called without one."""
DRAWS = 1000
"""Resamples behind the intervals of classes and sizes."""


def facts(tally: DetectTally) -> dict[str, Any]:
    """Counts for result.json: objects, crowds, pictures without any, classes without any."""
    matches, weight_I = tally.matches, tally.weights_I
    weight_G = weight_I[matches.image_G]
    real_G = ~matches.crowd_G
    true_C = np.bincount(
        matches.class_G[real_G], weight_G[real_G], minlength=len(tally.classes)
    ).astype(int)
    objects_I = np.bincount(matches.image_G[real_G], minlength=matches.images)
    return {
        "objects": int(true_C.sum()),
        "crowds": int(weight_G[matches.crowd_G].sum()),
        "empty_pictures": int((objects_I[tally.rows_N] == 0).sum()),
        "absent_classes": [
            name for name, count in zip(tally.classes, true_C, strict=True) if not count
        ],
        "most_objects": int(objects_I[tally.rows_N].max(initial=0)),
        "pictures_beyond_queries": int((tally.excess_N > 0).sum()),
        "objects_beyond_queries": int(tally.excess_N.sum()),
    }


def compare(
    kit: DetectTally, baseline: DetectTally, *, metric: str = "ap"
) -> dict[str, Any] | None:
    """`paired_bootstrap` of AP, kit less baseline; None if nothing can vary, too."""
    drawn = Resamples(kit, seed=SEED, count=RESAMPLES)
    if drawn.fixed:
        return None
    whole = kit.weights_I
    difference = _ap(kit, whole) - _ap(baseline, whole)
    gaps = np.array(
        [_ap(kit, weights) - _ap(baseline, weights) for weights in _weights(kit, drawn)]
    )
    return paired_bootstrap(metric, difference, gaps, drawn.units)


def complete(summary: dict[str, Any], job: SummaryJob) -> dict[str, Any]:
    """A summary with `per_class`, `per_size` and `mistakes`.

    Each class has its true objects and the pictures that hold some, `ap`, `ap50` and `ap_small`
    with their intervals; each bin of sizes its objects, `ap` and `ap50`; with a baseline also its
    values and the intervals of the differences. `mistakes` counts the kinds of wrong objects at the
    operating point, and says by how much AP50 would rise without each (see `gains_of`). An
    undefined value is None.
    """
    kit: DetectTally = job.tallies[0]
    bare: DetectTally | None = job.tallies[1] if len(job.tallies) > 1 else None
    return {
        **summary,
        "per_class": _per_class(kit, bare, job.seed),
        "per_size": _per_size(kit, bare, job.seed),
        "mistakes": _mistakes(kit, job.points[0]),
    }


def _ap(tally: DetectTally, weights_I: np.ndarray) -> float:
    return mean_of(figures_of(tally.matches, weights_I).ap_AC[0])


def _weights(tally: DetectTally, drawn: Resamples) -> list[np.ndarray]:
    """(I,) how often each resample holds each matched picture."""
    images = tally.matches.images
    return [np.bincount(tally.rows_N[rows], minlength=images) for rows in drawn]


Read = Callable[[Figures], np.ndarray]
"""Takes (n,) values of classes or bins from figures."""
_OF_CLASSES: dict[str, Read] = {
    "ap": lambda found: found.ap_AC[0],
    "ap50": lambda found: found.ap50_AC[0],
    "ap_small": lambda found: found.ap_AC[1],
}


def _over_classes(value_AC: np.ndarray) -> np.ndarray:
    return np.array([mean_of(value_C) for value_C in value_AC])


_OF_SIZES: dict[str, Read] = {
    "ap": lambda found: _over_classes(found.ap_AC),
    "ap50": lambda found: _over_classes(found.ap50_AC),
}


def _per_class(kit: DetectTally, bare: DetectTally | None, seed: int) -> dict[str, Any]:
    figures = _figures(kit, bare, _OF_CLASSES, seed, bins=False)
    matches = kit.matches
    real_G = ~matches.crowd_G
    weight_G = kit.weights_I[matches.image_G]
    entries = {}
    for number, name in enumerate(kit.classes):
        own_G = real_G & (matches.class_G == number)
        entries[name] = {
            "objects": int(weight_G[own_G].sum()),
            "pictures": int(kit.weights_I[np.unique(matches.image_G[own_G])].sum()),
            **{key: values[number] for key, values in figures.items()},
        }
    return entries


def _per_size(kit: DetectTally, bare: DetectTally | None, seed: int) -> dict[str, Any]:
    figures = _figures(kit, bare, _OF_SIZES, seed, bins=True)
    weight_G = kit.weights_I[kit.matches.image_G]
    return {
        name: {
            "objects": int(weight_G[kit.matches.counted_GA[:, COCO_RANGES + number]].sum()),
            **{key: values[number] for key, values in figures.items()},
        }
        for number, name in enumerate(BIN_NAMES)
    }


def _figures(
    kit: DetectTally, bare: DetectTally | None, reads: dict[str, Read], seed: int, *, bins: bool
) -> dict[str, list[dict[str, Any]]]:
    """Entries of each figure, class by class or bin by bin."""
    drawn = Resamples(kit, seed=seed, count=DRAWS)
    weights = [] if drawn.fixed else _weights(kit, drawn)
    units = drawn.units

    def measured(tally: DetectTally, read: Read) -> tuple[np.ndarray, np.ndarray]:
        whole = read(figures_of(tally.matches, tally.weights_I, bins=bins))
        again = [read(figures_of(tally.matches, one, bins=bins)) for one in weights]
        return whole, np.stack(again) if again else np.zeros((0, len(whole)))

    made = {}
    for name, read in reads.items():
        value, drawn_R = measured(kit, read)
        made[name] = interval_entries(value, drawn_R, "value", units)
        if bare is not None:
            other, others_R = measured(bare, read)
            made[f"baseline_{name}"] = interval_entries(other, others_R, "value", units)
            gap, gaps_R = value - other, drawn_R - others_R
            made[f"{name}_difference"] = interval_entries(gap, gaps_R, "difference", units)
    return made


def _mistakes(tally: DetectTally, point: Any) -> dict[str, Any]:
    matches, weight_I = tally.matches, tally.weights_I
    thresholds_C = thresholds_of(point, len(tally.classes))
    kept_D = matches.score_D >= thresholds_C[matches.class_D]
    weight_D = weight_I[matches.image_D]
    gains = gains_of(matches, weight_I)
    entries = {
        name: {
            "objects": int(weight_D[kept_D & (matches.mistake_D == kind)].sum()),
            "ap50_gain": gains[name],
        }
        for kind, name in NAMES.items()
    }
    found_G = matches.found_G >= thresholds_C[matches.class_G]
    lost_G = ~matches.crowd_G & ~found_G
    missed = int(weight_I[matches.image_G[lost_G]].sum())
    return {**entries, MISSED: {"objects": missed, "ap50_gain": gains[MISSED]}}
