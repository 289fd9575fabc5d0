"""A trained run, opened to answer: what `predict` and `watch` begin with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from moekit.contract.kits import KitSpec
from moekit.errors import UsageError
from moekit.export.record import open_export
from moekit.export.split.opening import open_compute
from moekit.jobs.session import backbone_of_run
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, resolve
from moekit.runs.choices import SPECIALIST, Model, kept_model, model_in_words
from moekit.runs.run import Run
from moekit.runtime.answerer import Answerer
from moekit.runtime.load import (
    check_kit,
    choose,
    context_of,
    load_predictor,
    point_in_words,
    preprocess_of,
    rule_of,
    validation_of,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """How a run is opened.

    Attributes:
        rule: How the point is chosen on validation data; the rule kept with the run if None.
        use: Which model answers: specialist, baseline or best; the kept one if None. An export has
            one model.
        review: Where the review zone begins; None for no such zone.
        precision: fp32, bf16, or that of the adaptation if None.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.
        backend: torch, or an export; see `moekit.export.record.open_export`.
    """

    rule: str | None = None
    use: str | None = None
    review: str | None = None
    precision: str | None = None
    weights: str = "auto"
    form: str = "auto"
    device: str = "auto"
    backend: str = "torch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A run that is ready to answer.

    Attributes:
        answerer: Answers pictures.
        validation: The run's validation tally; with an export the one that it gave itself.
        made_with: What outputs depend on.
        provenance: What verdicts depend on, `made_with` included, and what readers must know.
        sentences: Which model answers and how its point was chosen, in sentences.
        unverified: A sentence if the record of the run has no hash, so that an edit is not seen.
    """

    answerer: Answerer
    validation: Any
    made_with: Mapping[str, Any]
    provenance: dict[str, Any]
    sentences: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()


def open_trained(spec: KitSpec, run: Run, *, registry: Registry, how: Opening) -> Trained:
    """Opens a run's trained kit, with the backbone or as an export, and chooses its point.

    Args:
        spec: The kit as the run was made with it.
        run: The run.
        registry: The installed plugins.
        how: How it is opened.

    Raises:
        DataError: The run is not finished, its validation tallies do not do for a rule, or there is
            no such export.
        UsageError: A rule is unknown, the review zone would be empty, or an option is given that an
            export cannot follow.
        WeightsError: The backbone is another one, the trained weights are damaged, or the export is
            of others.
    """
    record = run.read_finished()
    resolved = resolve(spec, registry, frames=run.frames())
    if how.backend == "torch":
        opened = _open_torch(spec, run, registry, how)
    else:
        _refuse_options(how)
        opened = _open_export(spec, run, resolved, how)
    judge = resolved.task.judge
    rule = rule_of(resolved, how.rule, run)
    point = choose(resolved, opened.validation, how.rule, run)
    if how.review is not None:
        if judge.review is None:
            raise UsageError(
                f"the task {resolved.task.name} has no review zone",
                whose="--review",
                fix="leave it out",
                code="usage/not-for-task",
            )
        point = judge.review(opened.validation, point, how.review)
    made_with = {
        "kit": spec.name,
        "task": resolved.task.name,
        "kit_sha256": record["weights"]["kit_sha256"],
        "backbone_sha256": record["request"]["backbone_sha256"],
        **opened.arithmetic,
    }
    if opened.model != SPECIALIST:
        made_with |= {
            "model": opened.model,
            "baseline_sha256": record["weights"]["baseline_sha256"],
        }
    provenance = {
        **made_with,
        **({} if point is None else point.brief()),
        "rule": rule,
        "disclaimer": spec.disclaimer,
    }
    if how.review is not None:
        provenance["review"] = point.review
    if record.get("caution"):
        provenance["trained on"] = record["caution"]
    return Trained(
        answerer=Answerer(
            compute=opened.compute,
            preprocess=opened.preprocess,
            task=resolved.task,
            context=context_of(run, resolved, kinds=opened.kinds),
            point=point,
        ),
        validation=opened.validation,
        made_with=made_with,
        provenance=provenance,
        sentences=tuple(filter(None, (model_in_words(run, opened.model), *point_in_words(point)))),
        unverified=run.unsealed(),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Opened:
    compute: Any
    preprocess: Any
    validation: Any
    kinds: tuple[str, ...]
    arithmetic: dict[str, Any]
    model: Model


def _open_torch(spec: KitSpec, run: Run, registry: Registry, how: Opening) -> _Opened:
    model = kept_model(run, how.use)
    backbone = backbone_of_run(run, device=how.device, weights=how.weights, form=how.form)
    predictor = load_predictor(
        run,
        spec,
        backbone=backbone,
        registry=registry,
        with_baseline=False,
        precision=how.precision,
        model=model,
    )
    resolved = resolve(spec, registry, frames=run.frames())
    return _Opened(
        compute=predictor,
        preprocess=preprocess_of(run, backbone),
        validation=validation_of(run, resolved.task, model=model)[0],
        kinds=predictor.kit.kinds,
        arithmetic={"precision": predictor.arithmetic},
        model=model,
    )


def _open_export(spec: KitSpec, run: Run, resolved: Resolved, how: Opening) -> _Opened:
    check_kit(run, spec)
    export = open_export(run, how.backend)
    if how.use is not None and kept_model(run, how.use) != export.record.use:
        raise UsageError(
            f"the export holds the {export.record.use}, not what --use {how.use} names",
            whose=str(export.folder),
            fix="leave out --use, or export that model: moekit export KIT --run RUN --data D --use",
            code="usage/option-conflict",
        )
    split = export.record.split
    prefix = {} if split is None else {"prefix_sha256": split.prefix.sha256}
    return _Opened(
        compute=open_compute(export, resolved.task),
        preprocess=export.preprocess,
        validation=validation_of(run, resolved.task, export=export.folder)[0],
        model=export.record.use,
        kinds=export.record.kinds,
        arithmetic={
            "precision": export.record.precision,
            "backend": export.record.format,
            "graph_sha256": export.record.graph_sha256,
            **prefix,
        },
    )


def _refuse_options(how: Opening) -> None:
    given = {
        "--precision": how.precision is not None,
        "--weights": how.weights != "auto",
        "--form": how.form != "auto",
        "--device": how.device not in ("auto", "cpu"),
    }
    named = [option for option, is_given in given.items() if is_given]
    if named:
        raise UsageError(
            "an export has its own weights and arithmetic, and runs on the CPU",
            whose=", ".join(named),
            fix="leave it out, or use --backend torch",
            code="usage/option-conflict",
        )


def check_reads_images(spec: KitSpec, run: Run, *, fix: str = "use `moekit predict`") -> None:
    """Refuses a run that answers something other than single images.

    Args:
        spec: Its kit.
        run: The run.
        fix: What to do then.

    Raises:
        UsageError: It does.
    """
    if spec.predict is not None or spec.reader is not None or run.frames() > 1:
        raise UsageError(
            f"the kit {spec.name} of this run answers something other than single images",
            whose=str(run.folder),
            fix=fix,
            code="usage/not-for-task",
        )
