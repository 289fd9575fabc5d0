"""Whether a run takes the place of the one that it began with: a paired test on held-out data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from moekit.backbone.model import MoEBackbone
from moekit.contract.metrics import MetricSpec
from moekit.data.content import Contents
from moekit.data.samples import Dataset, Sample
from moekit.errors import DataError
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.learned import without_learned
from moekit.evaluation.needs import usable_metrics
from moekit.evaluation.split_pass import pass_over
from moekit.evaluation.summary import differences, figures, measure
from moekit.evaluation.verdict import LEAST
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, kit_of_run, resolve
from moekit.runs.choices import kept_model
from moekit.runs.facts import now
from moekit.runs.run import Run
from moekit.runtime.load import load_predictor, point_of, preprocess_of

REPLACES, STAYS = "replaces", "stays"
AGAINST, REPLACED = "against_start", "replaced_by"
"""Keys of run.json: what the test says in the new run, and which run replaces the earlier one."""
_WHOLE = "all held-out images"
_OTHERS = "the other images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplaceJob:
    """What `replaces` compares.

    Attributes:
        old: The run that was begun with.
        new: The run that it became.
        dataset: Split data; `test` is compared on, or `val` if there is no test.
        corrected: Ids of the corrected images.
        seed: Of the bootstrap.
        batch_size: Images a forward pass.
        resamples: Bootstrap samples; as an evaluation draws them if None.
    """

    old: Run
    new: Run
    dataset: Dataset
    corrected: frozenset[str]
    seed: int = 0
    batch_size: int = 16
    resamples: int | None = None


def replaces(
    job: ReplaceJob,
    *,
    backbone: MoEBackbone,
    registry: Registry,
    on_progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Decides by a paired test whether the new run takes the old one's place; records it in both.

    It does if its headline is better on all held-out images, which the interval of the difference
    proves, and is not proven to be worse on those that nobody corrected. Points are those that each
    run chose on its own validation data.

    Returns:
        `decision`, `in_words`, the `metric`, the `split`, and the figures of each of the `parts`.

    Raises:
        DataError: There is nothing held out that they have not learned from, or the runs answered
            other items.
    """
    split = "test" if "test" in job.dataset.split_names() else "val"
    unlearned = without_learned(job.new, job.dataset, split, Contents())
    samples = unlearned.dataset.split(split)
    found = [
        _answered(run, samples, job, backbone, registry, functools.partial(on_progress, words))
        for run, words in (
            (job.new, f"answering held-out images, {split}, new run"),
            (job.old, f"answering held-out images, {split}, earlier run"),
        )
    ]
    (new, point, resolved), (old, old_point, _) = found
    if tuple(new.ids) != tuple(old.ids):
        raise DataError(
            "the runs could not answer the same images",
            whose=f"{job.new.folder} and {job.old.folder}",
            fix="let nothing write to the data, then run the command again with --resume",
            code="data/changed",
        )
    corrected_N = np.array([name in job.corrected for name in new.ids])
    rows = {_WHOLE: np.arange(len(new.ids))}
    if corrected_N.any() and not corrected_N.all():
        rows["images that were corrected"] = np.flatnonzero(corrected_N)
        rows[_OTHERS] = np.flatnonzero(~corrected_N)
    usable, _ = usable_metrics(resolved.metrics, new, point)
    headline = usable[:1]
    parts = {
        name: _compared(headline, (new.take(part), point), (old.take(part), old_point), job)
        for name, part in rows.items()
    }
    decision, told = _decided(headline, parts, split)
    told = [*unlearned.dataset.notes[len(job.dataset.notes) :], *told]
    runs = {
        name: {"folder": run.folder.name, "kit_sha256": run.read()["weights"]["kit_sha256"]}
        for name, run in {"old": job.old, "new": job.new}.items()
    }
    made: dict[str, Any] = {
        "decision": decision,
        "in_words": told,
        "metric": headline[0].name if headline else None,
        "split": split,
        "parts": parts,
        "runs": runs,
        "created": now(),
    }
    job.new.change({AGAINST: made})
    if decision == REPLACES:
        job.old.change({REPLACED: {**runs["new"], "created": made["created"]}})
    return made


def _answered(
    run: Run,
    samples: Sequence[Sample],
    job: ReplaceJob,
    backbone: MoEBackbone,
    registry: Registry,
    on_progress: Callable[[int, int], None],
) -> tuple[Any, Any, Resolved]:
    """The tally of a run's own model on the samples, its point, and the resolved kit."""
    record = run.read_finished()
    spec = kit_of_run(registry, record["request"]["kit"], record)
    resolved = resolve(spec, registry, frames=run.frames())
    model = kept_model(run)
    predictor = load_predictor(
        run, spec, backbone=backbone, registry=registry, with_baseline=False, model=model
    )
    point = point_of(run, resolved, rule="", model=model)
    context = resolved.context(
        classes=job.dataset.classes,
        frame=run.frame(),
        kinds=predictor.kit.kinds,
        words=job.dataset.words,
    )
    passed = pass_over(
        samples,
        predictor,
        preprocess_of(run, backbone),
        task=resolved.task,
        context=dataclasses.replace(context, points=(point,)),
        models=1,
        batch_size=job.batch_size,
        on_progress=on_progress,
    )
    if not passed.items:
        raise DataError(
            "not one held-out image could be read",
            whose=job.dataset.name,
            fix=f"check the images; the first fault: {passed.skipped[0].reason}",
            code="data/none-readable",
        )
    return passed.tallies[0], point, resolved


def _compared(
    metrics: Sequence[MetricSpec], new: tuple[Any, Any], old: tuple[Any, Any], job: ReplaceJob
) -> dict[str, Any]:
    drawn = Resamples(new[0], seed=job.seed, count=job.resamples)
    ours, theirs = (measure(metrics, tally, point, drawn) for tally, point in (new, old))
    count = len(new[0])
    return {
        "n": count,
        "units": drawn.units,
        "new": figures(ours, n=count),
        "old": figures(theirs, n=count),
        "difference": differences(ours, theirs),
    }


def _decided(
    headline: Sequence[MetricSpec], parts: Mapping[str, Mapping[str, Any]], split: str
) -> tuple[str, list[str]]:
    if not headline:
        return STAYS, ["the earlier run stays: no metric can be computed on what is held out"]
    metric = headline[0]
    told = [_told(name, one, metric, split) for name, one in parts.items()]
    better = _proven(parts[_WHOLE], metric)
    worse = _OTHERS in parts and _proven(parts[_OTHERS], metric) == -1
    if better == 1 and not worse:
        return REPLACES, [
            *told,
            "the new run replaces the earlier one: that it is better is proven",
        ]
    if worse:
        why = "the new run is worse on images that nobody corrected, which is proven"
    elif better == -1:
        why = "the new run is worse, which is proven"
    else:
        why = "that the new run is better is not proven; correct more images, then adapt again"
    return STAYS, [*told, f"the earlier run stays: {why}"]


def _proven(part: Mapping[str, Any], metric: MetricSpec) -> int:
    """1 if the new run is proven to be better, -1 if worse, else 0."""
    gap = part["difference"][metric.name]
    interval = gap["ci95"]
    if interval is None or part["units"] < LEAST or interval[0] <= 0 <= interval[1]:
        return 0
    return 1 if (gap["difference"] > 0) == metric.higher_is_better else -1


def _told(name: str, part: Mapping[str, Any], metric: MetricSpec, split: str) -> str:
    new, old = (part[which][metric.name]["value"] for which in ("new", "old"))
    gap = part["difference"][metric.name]
    if new is None or old is None:
        return f"{name} ({part['n']} of {split}): {metric.name} is undefined"
    interval = gap["ci95"]
    between = "" if interval is None else f" [{interval[0]:+.4f}, {interval[1]:+.4f}]"
    few = f"; {part['units']} independent ones of a class are too few" * (part["units"] < LEAST)
    return (
        f"{name} ({part['n']} of {split}): {metric.name} {new:.4f}, before {old:.4f}, difference "
        f"{gap['difference']:+.4f}{between}{few}"
    )
