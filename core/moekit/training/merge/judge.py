"""Whether a merged run is accepted: a paired comparison with each run that went into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moekit.contract.metrics import MetricSpec
from moekit.errors import MoekitError
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.summary import Measured, difference_ci95
from moekit.evaluation.verdict import LEAST
from moekit.moe.stats import RoutingTrace
from moekit.plugins.resolve import Resolved
from moekit.runtime.predictor import Computed, Predictor
from moekit.runtime.together import compute_together
from moekit.training.selection import measured_of

MERGED = "merged"
RULE = (
    "the merged run is accepted unless it is proven worse than the best of its runs: on the "
    "validation split the 95% interval of the paired difference of the headline metric lies on "
    f"the worse side of 0, from at least {LEAST} items (or groups) of each class"
)
RESAMPLES = 1000


class Beside:
    """Computes a batch by several predictors that share the trunk; see `Compute`.

    Args:
        predictors: By name, all of one backbone.
    """

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self._predictors = predictors

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """The outputs of all models of all predictors, in order.

        Raises:
            MoekitError: One of them fails.
        """
        failed: dict[str, MoekitError] = {}
        with torch.inference_mode():
            found = compute_together(self._predictors, images, failed)
        for error in failed.values():
            raise error
        return Computed(
            outputs=tuple(one for name in self._predictors for one in found[name].outputs),
            seconds=sum(one.seconds for one in found.values()),
        )


def judge(resolved: Resolved, tallies: Mapping[str, Any], *, rule: str) -> dict[str, Any]:
    """Compares the merged run with each of the others.

    Args:
        resolved: The kit.
        tallies: Of each site by its name, and of `MERGED`, of the same items.
        rule: By which points are chosen.

    Returns:
        `accepted`, the `rule`, the `metric` with `n`, `values` and `differences` to each site, the
        `best` site, and `in_words`; ready for JSON. `accepted` is None if nothing was compared.
    """
    drawn = Resamples(tallies[MERGED], seed=0, count=RESAMPLES)
    metric, measured = measured_of(resolved, tallies, drawn, rule)
    if metric is None or measured is None:
        name = "the headline metric" if metric is None else metric.name
        return {
            "accepted": None,
            "rule": RULE,
            "metric": None if metric is None else metric.name,
            "in_words": [f"nothing was compared: {name} is not defined on the validation split"],
        }
    merged = measured.pop(MERGED)
    up = metric.higher_is_better
    best = (max if up else min)(measured, key=lambda name: measured[name].value)
    gaps = {name: difference_ci95(merged, one) for name, one in measured.items()}
    interval, units = gaps[best], merged.units
    worse = interval is not None and (interval[1] < 0 if up else interval[0] > 0)
    accepted = not (worse and units >= LEAST)
    return {
        "accepted": accepted,
        "rule": RULE,
        "metric": metric.name,
        "n": len(tallies[MERGED]),
        "units": units,
        "best": best,
        "values": {
            name: {"value": one.value, "ci95": one.ci95}
            for name, one in {MERGED: merged, **measured}.items()
        },
        "differences": {
            name: {"difference": merged.value - one.value, "ci95": gaps[name]}
            for name, one in measured.items()
        },
        "in_words": _in_words(metric, merged, measured, gaps, best, accepted=accepted, worse=worse),
    }


def _in_words(
    metric: MetricSpec,
    merged: Measured,
    sites: Mapping[str, Measured],
    gaps: Mapping[str, Sequence[float] | None],
    best: str,
    *,
    accepted: bool,
    worse: bool,
) -> list[str]:
    told = [
        f"merged less {name}: {merged.value - one.value:+.4f} of {metric.name}"
        + ("" if gap is None else f" [{gap[0]:+.4f}, {gap[1]:+.4f}]")
        for name, one in sites.items()
        for gap in [gaps[name]]
    ]
    if not accepted:
        told.append(f"the merged run is proven worse than {best}")
    elif worse:
        told.append(
            f"the merged run is behind {best}, but {merged.units} independent items of a class are "
            f"too few to prove it, {LEAST} may do"
        )
    else:
        told.append(f"the merged run is not proven worse than {best}, the best of its runs")
    return told
