"""Metrics of detection: COCO's, and what is right at the operating point.

They are called with the pictures that count and the matches of the whole split, so that nothing is
matched again for a resample. COCO: Lin et al. 2014, arXiv:1405.0312; the figures are those of
pycocotools.

Shapes: N pictures, I matched pictures, C classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from moekit import MetricExample, MetricSpec
from moekit_detection.judging.average import Figures, figures_of, mean_of
from moekit_detection.judging.matches import Matches
from moekit_detection.records import Objects

TASK = "detect"
_NEEDS = ("rows_N", "matches")
_COCO = "Lin et al. 2014, arXiv:1405.0312; as pycocotools computes it"
_HAND = "by hand, and pycocotools 2.0.11"


def counts(
    rows_N: np.ndarray, matches: Matches, thresholds_C: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) right objects, (N,) wrong ones and (N,) true ones of each picture, at IoU 0.5.

    Args:
        rows_N: Which pictures.
        matches: Of the split.
        thresholds_C: Scores from which objects of each class are reported.
    """
    kept_D = matches.score_D >= thresholds_C[matches.class_D]
    right_D = kept_D & (matches.hit_DA[:, 0] & 1 > 0)
    wrong_D = kept_D & ((matches.hit_DA[:, 0] | matches.ignored_DA[:, 0]) & 1 == 0)
    right_I, wrong_I = (
        np.bincount(matches.image_D[one], minlength=matches.images) for one in (right_D, wrong_D)
    )
    true_I = np.bincount(matches.image_G[matches.counted_GA[:, 0]], minlength=matches.images)
    return right_I[rows_N], wrong_I[rows_N], true_I[rows_N]


def precision_counts(
    rows_N: np.ndarray, matches: Matches, thresholds_C: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) right objects of each picture, and (N,) all that are reported and count."""
    right_N, wrong_N, _ = counts(rows_N, matches, thresholds_C)
    return right_N, right_N + wrong_N


def recall_counts(
    rows_N: np.ndarray, matches: Matches, thresholds_C: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) right objects of each picture, and (N,) true ones."""
    right_N, _, true_N = counts(rows_N, matches, thresholds_C)
    return right_N, true_N


def false_alarms(rows_N: np.ndarray, matches: Matches, thresholds_C: np.ndarray) -> float:
    """Wrong objects a picture."""
    if not len(rows_N):
        return float("nan")
    return float(counts(rows_N, matches, thresholds_C)[1].mean())


def _share(
    parts: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> Callable[[np.ndarray, Matches, np.ndarray], float]:
    def share(rows_N: np.ndarray, matches: Matches, thresholds_C: np.ndarray) -> float:
        hits_N, of_N = parts(rows_N, matches, thresholds_C)
        total = float(of_N.sum())
        return float(hits_N.sum()) / total if total else float("nan")

    return share


def _figure(read: Callable[[Figures], np.ndarray]) -> Callable[[np.ndarray, Matches], float]:
    def compute(rows_N: np.ndarray, matches: Matches) -> float:
        weights_I = np.bincount(rows_N, minlength=matches.images)
        return mean_of(read(figures_of(matches, weights_I)))

    return compute


def _example() -> Matches:
    """Two pictures of two classes.

    In the first a disc is found well at .9 and a second time at .8, and a small square is missed;
    in the second a square is found at IoU .62, at .7, and a disc at .3 on nothing.
    """
    large, small = (10.0, 10.0, 100.0, 100.0), (200.0, 200.0, 20.0, 20.0)
    first = (
        Objects.of([large, large], [0, 0], score_G=[0.9, 0.8]),
        Objects.of([large, small], [0, 1]),
    )
    second = (
        Objects.of([(10, 10, 100, 62), (300, 10, 50, 50)], [1, 0], score_G=[0.7, 0.3]),
        Objects.of([large], [1]),
    )
    return Matches.of([first, second], 2)


_GIVEN = {"rows_N": (0, 1), "matches": _example()}
_AT_POINT = {**_GIVEN, "thresholds_C": (0.85, 0.5)}


def _coco(
    name: str, read: Callable[[Figures], np.ndarray], summary: str, value: float
) -> MetricSpec:
    return MetricSpec(
        name=name,
        compute=_figure(read),
        higher_is_better=True,
        bounds=(0.0, 1.0),
        summary=summary,
        source=_COCO,
        task=TASK,
        needs=_NEEDS,
        examples=(MetricExample(given=_GIVEN, value=value, source=_HAND),),
    )


def _at_point(
    name: str, parts: Callable[..., tuple[np.ndarray, np.ndarray]], summary: str, value: float
) -> MetricSpec:
    return MetricSpec(
        name=name,
        compute=_share(parts),
        higher_is_better=True,
        bounds=(0.0, 1.0),
        summary=summary,
        source="definition; an object is right from IoU 0.5 on",
        task=TASK,
        needs=(*_NEEDS, "thresholds_C"),
        share=parts,
        examples=(MetricExample(given=_AT_POINT, value=value, source="by hand"),),
    )


_HALF = 51 / 101
"""The share of the 101 recalls that is at most 1/2."""

METRICS = (
    _coco(
        "ap",
        lambda found: found.ap_AC[0],
        "average precision, mean over classes and over IoU 0.5 to 0.95",
        (1 + 0.3 * _HALF) / 2,
    ),
    _coco("ap50", lambda found: found.ap50_AC[0], "the same at IoU 0.5", (1 + _HALF) / 2),
    _coco("ap75", lambda found: found.ap75_C, "the same at IoU 0.75", 0.5),
    _coco("ap_small", lambda found: found.ap_AC[1], "AP of objects below 32 x 32 pixels", 0.0),
    _coco(
        "ap_medium",
        lambda found: found.ap_AC[2],
        "AP of objects from 32 x 32 to 96 x 96 pixels",
        float("nan"),
    ),
    _coco(
        "ap_large",
        lambda found: found.ap_AC[3],
        "AP of objects above 96 x 96 pixels",
        (1 + 0.3) / 2,
    ),
    _coco("ar1", lambda found: found.cut_recall_MC[0], "recall of 1 object a class", 0.575),
    _coco("ar10", lambda found: found.cut_recall_MC[1], "recall of 10 objects a class", 0.575),
    _coco("ar100", lambda found: found.cut_recall_MC[2], "recall of 100 objects a class", 0.575),
    _at_point("precision", precision_counts, "share of reported objects that are right", 1.0),
    _at_point("recall", recall_counts, "share of true objects that are found", 2 / 3),
    MetricSpec(
        name="false_alarms",
        compute=false_alarms,
        higher_is_better=False,
        bounds=(0.0, float("inf")),
        summary="wrong objects a picture",
        source="definition; an object is right from IoU 0.5 on",
        task=TASK,
        needs=(*_NEEDS, "thresholds_C"),
        examples=(
            MetricExample(
                given={**_GIVEN, "thresholds_C": (0.1, 0.5)}, value=1.0, source="by hand: 2 in 2"
            ),
        ),
    ),
)
"""The first nine need no point."""
HEADLINES = tuple(metric.name for metric in METRICS)
