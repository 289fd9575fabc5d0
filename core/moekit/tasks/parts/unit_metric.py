"""The record of a metric in [0, 1] that is described by one example."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from moekit.contract.metrics import MetricExample, MetricSpec


def unit_metric(
    task: str,
    name: str,
    compute: Callable[..., float],
    summary: str,
    source: str,
    example: MetricExample,
    *,
    higher_is_better: bool = True,
    share: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None,
    undefined: str = "",
) -> MetricSpec:
    """A metric in [0, 1]; it needs what its example gives, in that order.

    Args:
        task: Name of the task whose tallies it is computed from.
        name: Short name.
        compute: Called with what the example gives.
        summary: One line for lists and reports.
        source: Paper, standard or library.
        example: A known answer.
        higher_is_better: The direction of improvement.
        share: Of a share of items, what each adds to it; see `MetricSpec.share`.
        undefined: When it has no value; see `MetricSpec.undefined`.
    """
    return MetricSpec(
        name=name,
        compute=compute,
        higher_is_better=higher_is_better,
        bounds=(0.0, 1.0),
        summary=summary,
        source=source,
        examples=(example,),
        task=task,
        needs=tuple(example.given),
        share=share,
        undefined=undefined,
    )
