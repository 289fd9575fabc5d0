"""What quantisation costs, measured on the validation split."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

from moekit.errors import MoekitError
from moekit.ranks import rank_correlation
from moekit.tasks.score.delong import delong_test
from moekit.tasks.score.metrics import auroc
from moekit.tasks.score.predictions import Predictions

AUROC_LIMIT = 0.008
RANK_LIMIT = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Scores in int8 next to those of the same graph in float32.

    Attributes:
        split: Where it was measured.
        n: Images.
        measure: What is compared: AUROC if both classes are there, else the rank correlation
            (Spearman) of the two scores, which in float32 is 1.
        fp32: The measure in float32.
        int8: The measure in int8.
        loss: The first less the second.
        ci95: Interval of the loss (DeLong, paired); None of rank correlations and if a class
            has fewer than two images.
        limit: Greatest loss that was allowed.
        score_drift: Mean absolute difference of a score.
        greatest_drift: Greatest absolute difference of a score.
    """

    split: str
    n: int
    measure: Literal["auroc", "rank correlation"]
    fp32: float
    int8: float
    loss: float
    ci95: tuple[float, float] | None
    limit: float
    score_drift: float
    greatest_drift: float


def check_accuracy(
    fp32: Predictions, int8: Predictions, *, limit: float | None, split: str, whose: str
) -> Accuracy:
    """Compares scores in int8 with those in float32.

    Args:
        fp32: Scores of a split.
        int8: Scores of the same images in the same order.
        limit: Greatest loss allowed; None for `AUROC_LIMIT` or `RANK_LIMIT`.
        split: The split's name.
        whose: The export, for the error.

    Raises:
        MoekitError: The loss is greater, or a score is not a number.
    """
    if not np.isfinite(int8.scores).all():
        raise MoekitError(
            f"in int8 a score of the {split} split is not a number",
            whose=whose,
            fix="export without --int8",
            code="error/bad-scores",
        )
    drift = np.abs(fp32.scores - int8.scores)
    labels = fp32.labels
    ci95 = None
    if len(np.unique(labels)) == 2:
        measure: Literal["auroc", "rank correlation"] = "auroc"
        before, after = auroc(fp32.scores, labels), auroc(int8.scores, labels)
        test = delong_test(fp32.scores, int8.scores, labels, fp32.groups)
        ci95 = None if math.isnan(test.ci95[0]) else test.ci95
        allowed = AUROC_LIMIT if limit is None else limit
    else:
        measure, before = "rank correlation", 1.0
        after = rank_correlation(fp32.scores, int8.scores)
        after = 0.0 if math.isnan(after) else after  # of one constant list nothing is kept
        allowed = RANK_LIMIT if limit is None else limit
    accuracy = Accuracy(
        split=split,
        n=len(labels),
        measure=measure,
        fp32=before,
        int8=after,
        loss=before - after,
        ci95=ci95,
        limit=allowed,
        score_drift=float(drift.mean()),
        greatest_drift=float(drift.max()),
    )
    if not accuracy.loss <= allowed:
        raise MoekitError(
            f"int8 loses {accuracy.loss:.4f} of {measure} on {accuracy.n} images of the {split} "
            f"split ({before:.4f} to {after:.4f}); at most {allowed:g} is allowed",
            whose=whose,
            fix="export without --int8, or allow more with --max-loss",
            code="error/int8-loss",
        )
    return accuracy
