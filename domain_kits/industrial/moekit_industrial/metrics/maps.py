"""Metrics of localisation: how well a map says where the defects are.

Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset", International Journal of Computer
Vision 129:1038-1059. The rate of false positives is that of all defect-free pixels of all images,
good and defective ones. Curves begin at (0, 0) and are straight between thresholds.

Shapes: T thresholds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from moekit import MapCounts, MapMetricExample, MapMetricSpec

_SOURCE = "Bergmann et al. 2021, International Journal of Computer Vision 129:1038-1059"


def pixel_auroc(counts: MapCounts) -> float:
    """Area under the ROC curve of all pixels, each counted alike; nan without defects."""
    found = _rising(counts.positives_T)
    return _area(_false_positives(counts), found / found[-1], 1.0) if found[-1] else float("nan")


def aupro(counts: MapCounts) -> float:
    """Area under the per-region-overlap curve up to 30% false positives, as a share of its most.

    nan without defects, or if every pixel is one.
    """
    return _area(_false_positives(counts), _rising(counts.overlap_T), 0.3)


def aupro_5(counts: MapCounts) -> float:
    """The same up to 5% false positives, as Bergmann et al. propose for a stricter comparison."""
    return _area(_false_positives(counts), _rising(counts.overlap_T), 0.05)


def _false_positives(counts: MapCounts) -> np.ndarray:
    """(1 + T,) share of the negative pixels; empty if there is none."""
    alarms = _rising(counts.negatives_T)
    return alarms / alarms[-1] if alarms[-1] else np.zeros(0)


def _rising(counted_T: np.ndarray) -> np.ndarray:
    """(1 + T,) from the strictest threshold to the loosest, none first."""
    return np.concatenate([[0.0], counted_T[::-1]])


def _area(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """The area below a curve from 0 to a limit, divided by the limit."""
    if not len(x) or np.isnan(y).any():
        return float("nan")
    inside = int(np.searchsorted(x, limit, side="right"))
    # If the curve is vertical at the limit, its upper end does not matter.
    last = y[-1] if inside == len(x) else np.interp(limit, x[inside - 1 :], y[inside - 1 :])
    x, y = np.append(x[:inside], limit), np.append(y[:inside], last)
    area = float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
    return min(area / limit, 1.0)


_SMALL = (
    (((0.9, 0.2, 0.4, 0.1), (0.2, 0.5, 0.3, 0.8)),),
    (((1, 0, 0, 0), (0, 0, 1, 1)),),
)
"""Two regions of one and two pixels; the second is half found before the first false positive."""

_WIDE = (
    (((0.9, *(0.1,) * 9, 0.6), (0.7, *(0.1,) * 10)),),
    (((1, *(0,) * 9, 1), (0,) * 11),),
)
"""Two regions of one pixel and 20 negative pixels, one of which lies between the two."""


def _spec(
    name: str,
    compute: Callable[[MapCounts], float],
    summary: str,
    *,
    small: float,
    wide: float,
    source: str,
) -> MapMetricSpec:
    return MapMetricSpec(
        name=name,
        compute=compute,
        higher_is_better=True,
        bounds=(0.0, 1.0),
        summary=summary,
        source=_SOURCE,
        examples=tuple(
            MapMetricExample(maps=maps, masks=masks, value=value, source=source)
            for (maps, masks), value in ((_SMALL, small), (_WIDE, wide))
        ),
    )


MAP_METRICS = (
    _spec(
        "pixel_auroc",
        pixel_auroc,
        "area under the ROC curve of all pixels",
        small=13 / 15,
        wide=39 / 40,
        source="roc_auc_score of scikit-learn 1.9 on the same pixels",
    ),
    _spec(
        "aupro",
        aupro,
        "mean share of a defect found, over false positive rates up to 30%",
        small=3 / 4,
        wide=(0.05 * 1 / 2 + 0.25 * 1) / 0.3,
        source="by hand, and AUPRO of anomalib 2.7",
    ),
    _spec(
        "aupro_5",
        aupro_5,
        "mean share of a defect found, over false positive rates up to 5%",
        small=3 / 4,
        wide=1 / 2,
        source="by hand",
    ),
)
