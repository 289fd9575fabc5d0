"""The figures of localisation: map metrics with intervals, next to those of the scores.

Shapes: N images whose maps are counted, B resamples.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from moekit.contract.map_counts import MapCounts
from moekit.contract.metrics import MapMetricSpec
from moekit.evaluation.bootstrap import RESAMPLES, Resamples
from moekit.evaluation.summary import Measured, checked_value, differences, figures
from moekit.tasks.score.localisation import Localisation
from moekit.tasks.score.masks import CONNECTIVITY, LONGEST_SIDE
from moekit.tasks.score.predictions import Predictions

_TOGETHER = 100


def with_map_metrics(
    summary: dict[str, Any],
    predictions: Predictions,
    metrics: Sequence[MapMetricSpec],
    found: Localisation,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """A summary of scores, with the figures of maps added to it.

    The intervals are made as those of the scores, by image within classes or by whole groups; a
    resample weighs the counts of images again and looks at no pixel.

    Args:
        summary: What `summarise` made of the predictions.
        predictions: Scores of the split.
        metrics: What to compute, one at least.
        found: Counts of the same images, in their order.
        seed: Of the bootstrap.
        resamples: Bootstrap samples.

    Returns:
        The summary. If anything could be counted, `metrics`, `subsets`, `baseline` and
        `comparison` hold the map metrics too, each with n and the number of regions, and
        `localisation` says how they were made. `notes` says what is missing and why.

    Raises:
        PluginError: A metric raises, or leaves its bounds.
    """
    names = ", ".join(metric.name for metric in metrics)
    about = {
        "n": len(found.rows),
        "regions": 0 if found.kit is None else len(found.kit.image_R),
        "vanished_regions": found.vanished,
        "longest_side": LONGEST_SIDE,
        "connectivity": CONNECTIVITY,
        "thresholds": 0 if found.kit is None else len(found.kit.edges_T),
        "left_out": [dataclasses.asdict(skip) for skip in found.left_out],
    }
    result = {**summary, "localisation": about, "notes": _notes(names, found, len(predictions))}
    if found.kit is None:
        return result
    counted = predictions.take(found.rows)
    kit = _measure(metrics, found.kit, counted, seed, resamples)
    result["metrics"] = summary["metrics"] | _figures(kit, found.kit)
    result["subsets"] = {
        name: _with_subset(part, name, metrics, found.kit, counted, seed, resamples)
        for name, part in summary["subsets"].items()
    }
    if found.baseline is not None and summary["baseline"] is not None:
        bare = _measure(metrics, found.baseline, counted, seed, resamples)
        added = {"baseline": _figures(bare, found.baseline), "comparison": differences(kit, bare)}
        for key, entries in added.items():
            if summary[key] is not None:
                result[key] = {**summary[key], "metrics": summary[key]["metrics"] | entries}
    return result


def _notes(names: str, found: Localisation, scored: int) -> list[str]:
    missing = (
        f"; {len(found.left_out)} left out, named under localisation" if found.left_out else ""
    )
    if found.kit is None:
        return [f"{names} not computed: {found.reason}{missing}"]
    notes = []
    if found.left_out:
        notes.append(
            f"{names} computed from {len(found.rows)} of {scored} images, since the masks of the "
            f"others are missing or unusable; they are named under localisation"
        )
    if found.vanished:
        notes.append(
            f"{names}: regions that are smaller than a pixel if the longer side has "
            f"{LONGEST_SIDE} count in no figure; there are {found.vanished}"
        )
    return notes


def _with_subset(
    part: dict[str, Any],
    name: str,
    metrics: Sequence[MapMetricSpec],
    counts: MapCounts,
    counted: Predictions,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    rows = np.flatnonzero(np.array(counted.subtypes or (), dtype=object) == name)
    chosen = counts.take(rows)
    measured = _measure(metrics, chosen, counted.take(rows), seed, resamples)
    return {**part, "metrics": part["metrics"] | _figures(measured, chosen)}


def _figures(measured: Sequence[Measured], counts: MapCounts) -> dict[str, Any]:
    return figures(measured, n=len(counts.weights_N), regions=len(counts.image_R))


def _measure(
    metrics: Sequence[MapMetricSpec],
    counts: MapCounts,
    counted: Predictions,
    seed: int,
    resamples: int,
) -> list[Measured]:
    values = [checked_value(metric, counts) for metric in metrics]
    drawn = Resamples(counted, seed=seed, count=resamples)
    resampled = np.full((len(metrics), resamples), np.nan)
    defined = [place for place, value in enumerate(values) if math.isfinite(value)]
    if defined and not drawn.fixed:
        for number, one in enumerate(_reweighted(counts, drawn)):
            for place in defined:
                resampled[place, number] = checked_value(metrics[place], one)
    return [
        Measured(spec=metric, value=value, resampled=of_metric, units=drawn.units)
        for metric, value, of_metric in zip(metrics, values, resampled, strict=True)
    ]


def _reweighted(counts: MapCounts, drawn: Resamples) -> Iterator[MapCounts]:
    """The counts of each resample, by how often it holds each image."""
    images = len(counts.weights_N)
    resamples = iter(drawn)
    while together := list(itertools.islice(resamples, _TOGETHER)):
        weights_BN = np.stack([np.bincount(rows, minlength=images) for rows in together])
        yield from counts.reweighted(weights_BN.astype(np.float64))
