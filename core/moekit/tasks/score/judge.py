"""How scores are judged: thresholds, files, the paired test, maps against masks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.contract.metrics import MapMetricSpec
from moekit.contract.tasks import Judge, SummaryJob
from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.runs.run import VALIDATION
from moekit.tasks.parts.support import choice_interval, drawn_groups
from moekit.tasks.score.accuracy import check_accuracy
from moekit.tasks.score.delong import delong_test
from moekit.tasks.score.localisation import localise
from moekit.tasks.score.map_summary import with_map_metrics
from moekit.tasks.score.outcome import outcome
from moekit.tasks.score.predictions import RECOGNISED, Predictions
from moekit.tasks.score.read import read_scores
from moekit.tasks.score.tail import tail_limit
from moekit.tasks.score.tallier import ScoreTallier
from moekit.tasks.score.threshold import (
    RULES,
    OperatingPoint,
    choose_threshold,
    review_threshold,
)


def save(folder: Path, stem: str, tallies: Sequence[Predictions]) -> list[str]:
    """Writes STEM.csv: one row an image, the scores of kit and baseline next to each other."""
    kit = tallies[0]
    if stem == VALIDATION:  # what a threshold is chosen from needs no kinds
        kept = {name: values for name, values in kit.facts.items() if name != RECOGNISED}
        kit = dataclasses.replace(kit, facts=kept)
    if len(tallies) > 1:
        kit = dataclasses.replace(kit, baseline_scores=tallies[1].scores)
    kit.write_csv(folder / f"{stem}.csv")
    return [f"{stem}.csv"]


def load(folder: Path, stem: str) -> tuple[Predictions, ...]:
    """Reads what `save` wrote; the first holds the baseline's scores too. Empty if it is gone."""
    path = folder / f"{stem}.csv"
    if not path.exists():
        return ()
    return paired(Predictions.read_csv(path))


def paired(both: Predictions) -> tuple[Predictions, ...]:
    """The tally of the kit and, if its scores are there, of the baseline."""
    if both.baseline_scores is None:
        return (both,)
    return (both, dataclasses.replace(both, scores=both.baseline_scores, baseline_scores=None))


def choose(tally: Predictions, rule: str) -> OperatingPoint:
    """The operating threshold on validation scores, with its interval."""
    scores, labels = tally.scores, tally.labels
    point = choose_threshold(scores, labels, rule=rule, groups=tally.groups)

    def again(rows: np.ndarray) -> float:
        if rule.startswith("tail="):
            negatives = scores[rows][labels[rows] == 0]
            return tail_limit(negatives, alarms=float(rule.partition("=")[2]))
        named = None if tally.groups is None else drawn_groups(tally.groups, rows)
        return choose_threshold(scores[rows], labels[rows], rule=rule, groups=named).threshold

    return dataclasses.replace(point, threshold_ci95=choice_interval(tally, again))


def review(tally: Predictions, point: OperatingPoint, text: str) -> OperatingPoint:
    """The point with its review zone."""
    low = review_threshold(text, tally.scores, tally.labels, point=point)
    told = point.warning
    if text.startswith("max-false-alarm"):
        asked = choose_threshold(tally.scores, tally.labels, rule=text, groups=tally.groups)
        told = " ".join(filter(None, (told, asked.warning)))
    return dataclasses.replace(point, review=low, warning=told)


def check_rule(rule: str, samples: Sequence[Sample]) -> None:
    """Says before a training, not after it, that a rule is unknown or needs more images.

    Raises:
        DataError: The images do not do for the rule.
        UsageError: The rule is unknown.
    """
    labels = np.array([sample.label for sample in samples])
    groups = [sample.group or "" for sample in samples]
    spread = np.linspace(0.1, 0.9, len(labels))
    choose_threshold(spread, labels, rule=rule, groups=groups if any(groups) else None)


def words(context: TaskContext, point: OperatingPoint) -> dict[str, Any]:
    """The kit's words and the threshold, for result.json."""
    vocabulary = context.vocabulary
    outcomes = {name: vocabulary[name] for name in ("missed", "false_alarm") if name in vocabulary}
    return {
        "positive": vocabulary["positive"],
        "outcome_names": outcomes,
        "threshold": point.as_json(),
    }


def facts(tally: Predictions) -> dict[str, Any]:
    """How many are positive."""
    return {"positives": int(tally.labels.sum())}


def check(tallies: Sequence[Predictions]) -> None:
    """Refuses scores and labels that are none.

    Raises:
        DataError: A score is not a number in [0, 1], or a label is neither 0 nor 1.
    """
    for name, tally in zip(("kit", "baseline"), tallies, strict=False):
        # Written so that not-a-number fails it too.
        wrong = np.flatnonzero(~((tally.scores >= 0) & (tally.scores <= 1)))
        if wrong.size:
            raise DataError(
                f"the {name} scores an image {tally.scores[wrong[0]]}, which is not a number from "
                "0 to 1",
                whose=tally.ids[wrong[0]],
                fix="check that training did not diverge, or evaluate with --precision fp32",
                code="data/bad-scores",
            )
    odd = np.flatnonzero(~np.isin(tallies[0].labels, (0, 1)))
    if odd.size:
        raise DataError(
            f"an image has the label {tallies[0].labels[odd[0]]}; these figures know 0 and 1",
            whose=tallies[0].ids[odd[0]],
            fix="check the labels of the data set",
            code="data/unknown-class",
        )


def compare(kit: Predictions, baseline: Predictions) -> dict[str, Any] | None:
    """DeLong's paired test of the AUROCs; None with one class only."""
    if len(np.unique(kit.labels)) < 2:
        return None
    test = delong_test(kit.scores, baseline.scores, kit.labels, kit.groups)
    if math.isnan(test.p):
        return None
    return {
        "metric": "auroc",
        "auroc_difference": test.difference,
        "ci95": list(test.ci95),
        "delong_p": test.p,
    }


def complete(summary: dict[str, Any], job: SummaryJob) -> dict[str, Any]:
    """Adds the metrics of maps against masks."""
    wanted = [metric for metric in job.metrics if isinstance(metric, MapMetricSpec)]
    kit, *others = job.tallies
    if not wanted or kit.places is None:
        return {**summary, "localisation": None}
    bare = others[0].places.maps if others and others[0].places is not None else ()
    found = localise(kit.places.samples, kit.places.sizes, kit.places.maps, bare)
    added = with_map_metrics(summary, kit, wanted, found, seed=job.seed, resamples=job.resamples)
    return {**added, "notes": [*summary["notes"], *added["notes"]]}


def reference(tally: Predictions) -> np.ndarray:
    """The scores of images that are no positives."""
    scores: np.ndarray = tally.scores[tally.labels == 0]
    return scores


def quantised(fp32: Predictions, int8: Predictions, limit: float | None) -> dict[str, Any]:
    """AUROC or rank correlation in int8 next to float32; see `check_accuracy`."""
    accuracy = check_accuracy(fp32, int8, limit=limit, split="val", whose="int8")
    return dataclasses.asdict(accuracy)


JUDGE = Judge(
    tallier=ScoreTallier,
    save=save,
    load=load,
    read=read_scores,
    lacking={"threshold": "no threshold was chosen"},
    rules=RULES,
    choose=choose,
    words=words,
    facts=facts,
    outcome=outcome,
    check=check,
    compare=compare,
    complete=complete,
    reference=reference,
    review=review,
    check_rule=check_rule,
    quantised=quantised,
)
