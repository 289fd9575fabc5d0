"""Metrics of classes, and what they are at their edges.

Items of no class (label -1) count in `unseen_auroc` only. A metric that a split cannot define is
nan. All are vectorised, since an interval takes thousands of them.

Shapes: N items, C classes.
"""

from __future__ import annotations

import functools

import numpy as np

from moekit.contract.metrics import MetricExample
from moekit.tasks.parts.unit_metric import unit_metric

TASK = "classify"
Counted = tuple[np.ndarray, np.ndarray]
"""(N,) what each item adds to the numerator of a share, and (N,) to its denominator."""
BINS = 15
"""Bins of the calibration error."""
_TOP = 5


def top1(probability_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """Share of items whose most probable class is theirs."""
    return _mean(top1_counts(probability_NC, labels_N))


def top1_counts(probability_NC: np.ndarray, labels_N: np.ndarray) -> Counted:
    """(N,) which items' most probable class is theirs, and (N,) which are of a known class."""
    if not probability_NC.shape[1]:
        return np.zeros(len(labels_N), dtype=bool), np.zeros(len(labels_N), dtype=bool)
    return probability_NC.argmax(1) == labels_N, labels_N >= 0


def top5(probability_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """Share of items whose class is among the five most probable; nan up to five classes.

    A class with the same probability as the item's own counts as before it, so that equal
    probabilities earn nothing.
    """
    return _mean(top5_counts(probability_NC, labels_N))


def top5_counts(probability_NC: np.ndarray, labels_N: np.ndarray) -> Counted:
    """(N,) which items' class is among the five most probable, and (N,) of which that is asked."""
    asked_N = labels_N >= 0
    if probability_NC.shape[1] <= _TOP:
        return np.zeros(len(labels_N), dtype=bool), np.zeros(len(labels_N), dtype=bool)
    own_N1 = np.take_along_axis(probability_NC, np.maximum(labels_N, 0)[:, None], 1)
    return asked_N & ((probability_NC >= own_N1).sum(1) <= _TOP), asked_N


def balanced_accuracy(probability_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean recall of the classes that are there, as scikit-learn's `balanced_accuracy_score`."""
    probability_NC, labels_N = known(probability_NC, labels_N)
    if not len(labels_N):
        return float("nan")
    classes = probability_NC.shape[1]
    right_N = probability_NC.argmax(1) == labels_N
    count_C = np.bincount(labels_N, minlength=classes)
    right_C = np.bincount(labels_N[right_N], minlength=classes)
    there = count_C > 0
    return float((right_C[there] / count_C[there]).mean())


def macro_f1(probability_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean F1 over the classes that are there or are answered, as scikit-learn's."""
    probability_NC, labels_N = known(probability_NC, labels_N)
    if not len(labels_N):
        return float("nan")
    classes = probability_NC.shape[1]
    said_N = probability_NC.argmax(1)
    hits_C = np.bincount(labels_N[said_N == labels_N], minlength=classes)
    total_C = np.bincount(labels_N, minlength=classes) + np.bincount(said_N, minlength=classes)
    there = total_C > 0
    return float((2 * hits_C[there] / total_C[there]).mean())


def macro_auroc(probability_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean area under the ROC curves of one class against the others, ties counting half.

    Classes without an item are left out. As torchmetrics' `MulticlassAUROC` and scikit-learn's
    `roc_auc_score(multi_class="ovr")` if all are there.
    """
    probability_NC, labels_N = known(probability_NC, labels_N)
    present = np.unique(labels_N)
    if len(present) < 2:
        return float("nan")
    order = np.argsort(labels_N, kind="stable")
    own = probability_NC[order, labels_N[order]]
    ends = np.cumsum(np.bincount(labels_N, minlength=probability_NC.shape[1]))
    columns = np.sort(probability_NC.T[present], axis=1)
    values = []
    for label, column in zip(present.tolist(), columns, strict=True):
        positives = own[ends[label - 1] if label else 0 : ends[label]]
        values.append(_area(positives, column))
    return float(np.mean(values))


def mean_average_precision(probability_NC: np.ndarray, labels_NC: np.ndarray) -> float:
    """Mean over classes of the average precision; classes without an item are left out.

    The average precision of a class is the mean, over its items, of the precision among all that
    are at least as probable: scikit-learn's `average_precision_score`.
    """
    values = []
    for column, truth in zip(probability_NC.T, labels_NC.T, strict=True):
        positives = np.sort(column[truth > 0])
        if len(positives):
            hits = len(positives) - np.searchsorted(positives, positives, side="left")
            called = len(column) - np.searchsorted(np.sort(column), positives, side="left")
            values.append(float((hits / called).mean()))
    return float(np.mean(values)) if values else float("nan")


def label_macro_f1(
    probability_NC: np.ndarray, labels_NC: np.ndarray, thresholds_C: np.ndarray
) -> float:
    """Mean F1 of labels at their thresholds, over the classes that are there or are answered."""
    said_NC, truth_NC = probability_NC >= thresholds_C, labels_NC > 0
    hits_C = (said_NC & truth_NC).sum(0)
    total_C = said_NC.sum(0) + truth_NC.sum(0)
    there = total_C > 0
    return float((2 * hits_C[there] / total_C[there]).mean()) if there.any() else float("nan")


def ece_top(probability_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """Expected calibration error of the most probable class, in 15 bins of equal width.

    As torchmetrics' `MulticlassCalibrationError` with 15 bins and the norm l1.
    """
    probability_NC, labels_N = known(probability_NC, labels_N)
    if not len(labels_N):
        return float("nan")
    top_N = probability_NC.max(1)
    right_N = probability_NC.argmax(1) == labels_N
    edges = np.linspace(0, 1, BINS + 1)
    bins_N = np.clip(np.searchsorted(edges, top_N, side="left") - 1, 0, BINS - 1)
    gap = np.bincount(bins_N, weights=top_N - right_N, minlength=BINS)
    return float(np.abs(gap).sum() / len(labels_N))


def unseen_auroc(unlike_N: np.ndarray, unseen_N: np.ndarray) -> float:
    """How often an item of no class is stranger than one of a known class, ties counting half."""
    positives = unlike_N[unseen_N > 0]
    if len(positives) in (0, len(unlike_N)):
        return float("nan")
    return _area(positives, np.sort(unlike_N))


def known(probability_NC: np.ndarray, labels_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items of known classes."""
    if (labels_N >= 0).all():
        return probability_NC, labels_N
    rows = np.flatnonzero(labels_N >= 0)
    return probability_NC[rows], labels_N[rows]


def _area(positives: np.ndarray, ordered: np.ndarray) -> float:
    """The area under the ROC curve, from the positives' values and all values in order."""
    below = np.searchsorted(ordered, positives, side="left")
    up_to = np.searchsorted(ordered, positives, side="right")
    count = len(positives)
    ranks = float((below + up_to + 1).sum()) / 2
    return (ranks - count * (count + 1) / 2) / (count * (len(ordered) - count))


def _mean(counted: Counted) -> float:
    hits_N, there_N = counted
    total = there_N.sum()
    return float(hits_N.sum() / total) if total else float("nan")


_FOUR = {
    "probability_NC": ((0.7, 0.2, 0.1), (0.3, 0.4, 0.3), (0.1, 0.5, 0.4), (0.6, 0.3, 0.1)),
    "labels_N": (0, 1, 2, 0),
}
_SIX = {
    "probability_NC": (
        (0.4, 0.2, 0.1, 0.1, 0.1, 0.1),
        (0.3, 0.25, 0.2, 0.15, 0.07, 0.03),
    ),
    "labels_N": (0, 5),
}
_SEVERAL = {
    "probability_NC": ((0.1, 0.9), (0.4, 0.2), (0.35, 0.6), (0.8, 0.7)),
    "labels_NC": ((0, 1), (0, 0), (1, 1), (1, 0)),
}

_spec = functools.partial(unit_metric, TASK)

_ONE_CLASS = "all items are of one class"
CLASS_METRICS = (
    _spec(
        "balanced_accuracy",
        balanced_accuracy,
        "mean recall of the classes",
        "Brodersen et al. 2010, ICPR",
        MetricExample(given=_FOUR, value=2 / 3, source="scikit-learn 1.9 on the same four items"),
    ),
    _spec(
        "top1",
        top1,
        "share of items whose most probable class is right",
        "definition",
        MetricExample(given=_FOUR, value=3 / 4, source="three of four"),
        share=top1_counts,
    ),
    _spec(
        "top5",
        top5,
        "share of items whose class is among the five most probable",
        "Russakovsky et al. 2015, IJCV 115",
        MetricExample(given=_SIX, value=1 / 2, source="one of two"),
        share=top5_counts,
        undefined=f"there are no more than {_TOP} classes",
    ),
    _spec(
        "macro_auroc",
        macro_auroc,
        "mean area under the ROC curves of one class against the others",
        "Hand and Till 2001, Machine Learning 45; one against the others",
        MetricExample(given=_FOUR, value=8 / 9, source="scikit-learn 1.9 on the same four items"),
        undefined=_ONE_CLASS,
    ),
    _spec(
        "macro_f1",
        macro_f1,
        "mean F1 of the classes",
        "van Rijsbergen 1979; mean over classes",
        MetricExample(given=_FOUR, value=5 / 9, source="scikit-learn 1.9 on the same four items"),
    ),
    _spec(
        "ece_top",
        ece_top,
        "expected calibration error of the most probable class",
        "Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599",
        MetricExample(given=_FOUR, value=0.45, source="(0.3 + 0.6 + 0.5 + 0.4) / 4, one a bin"),
        higher_is_better=False,
    ),
    _spec(
        "mean_average_precision",
        mean_average_precision,
        "mean average precision of several labels",
        "scikit-learn's definition of average precision; mean over classes",
        MetricExample(
            given=_SEVERAL, value=5 / 6, source="scikit-learn 1.9 on the same four items"
        ),
    ),
    _spec(
        "label_macro_f1",
        label_macro_f1,
        "mean F1 of several labels at their thresholds",
        "van Rijsbergen 1979; mean over classes",
        MetricExample(
            given={**_SEVERAL, "thresholds_C": (0.3, 0.5)},
            value=4 / 5,
            source="scikit-learn 1.9 on the same four items",
        ),
    ),
    _spec(
        "unseen_auroc",
        unseen_auroc,
        "how well items of no class differ from those of known classes",
        "Hendrycks and Gimpel 2017, arXiv:1610.02136",
        MetricExample(
            given={"unlike_N": (0.1, 0.4, 0.35, 0.8), "unseen_N": (0, 0, 1, 1)},
            value=3 / 4,
            source="scikit-learn 1.9 on the same four items",
        ),
    ),
)
