"""A run's trained kit, on the backbone that it was trained on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from moekit.backbone.model import MoEBackbone
from moekit.contract.answers import TaskContext
from moekit.contract.kits import KitSpec
from moekit.contract.tasks import TaskSpec
from moekit.data.stream import Preprocess
from moekit.data.views import view_numbers
from moekit.errors import DataError, WeightsError
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, resolve
from moekit.runs.choices import BASELINE, MEAN, SPECIALIST, Model, kept_model, kept_rule
from moekit.runs.run import MEAN_VALIDATION, VALIDATION, Run
from moekit.runs.schema import as_recorded, damaged
from moekit.runtime.answerer import Answerer
from moekit.runtime.device import pick_arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor
from moekit.runtime.tokens import routes_tokens, routing_of, with_weights


def check_kit(run: Run, kit: KitSpec) -> None:
    """Refuses a run of another kit.

    Raises:
        DataError: The run is of another kit, or not finished.
    """
    made_by = run.read_finished()["request"]["kit"]
    if made_by.rpartition("/")[2] != kit.name:
        raise DataError(
            f"the run was made by the kit {made_by}, not {kit.name}",
            whose=str(run.folder),
            fix=f"name the kit {made_by}, or another run",
            code="data/other-kit",
        )


def load_predictor(
    run: Run,
    kit: KitSpec,
    *,
    backbone: MoEBackbone,
    registry: Registry,
    with_baseline: bool,
    precision: str | None = None,
    model: Model = SPECIALIST,
) -> Predictor:
    """A run's trained kit on the backbone that it was trained on; the backbone is not changed.

    Args:
        run: A finished run.
        kit: As the run was made with it.
        backbone: The shared backbone.
        registry: The installed plugins.
        with_baseline: Whether the outputs of the specialist and of the baseline come first. If
            `model` is the mean of both, its outputs are then the third.
        precision: fp32, bf16, or that of the adaptation if None.
        model: Which model answers.

    Raises:
        DataError: The run is not finished or is of another kit.
        WeightsError: The backbone is another one, or the trained weights are damaged.
    """
    record = run.read_finished()
    request = record["request"]
    check_kit(run, kit)
    _check_backbone(run, record, backbone)
    resolved = resolve(kit, registry, frames=run.frames())
    recipe = run.recipe()
    device = next(backbone.parameters()).device
    parts = {"kit": resolved.kit, "baseline": resolved.kit.bare}
    if not with_baseline and model != MEAN:
        parts.pop("baseline" if model == SPECIALIST else "kit")

    def built(spec: KitSpec) -> KitModules:
        return KitModules(
            spec=spec,
            registry=registry,
            backbone=backbone,
            classes=len(run.classes()),
            frames=run.frames(),
            members=recipe.head_members,
        )

    loaded = {}
    for name, spec in parts.items():
        modules = built(spec)
        run.load_weights(name, modules, expected=record["weights"][f"{name}_sha256"])
        loaded[name] = modules.to(device)
    tokens = None
    if routes_tokens(recipe, registry):  # a baseline by itself is routed as its kit is
        kit_modules = loaded.get("kit") or built(resolved.kit)
        tokens = routing_of(recipe, kit_modules, registry, width=backbone.width)
        tokens = with_weights(tokens, run, device)
    return Predictor(
        backbone=backbone,
        kit=loaded["kit"] if "kit" in loaded else loaded["baseline"],
        baseline=loaded.get("baseline") if "kit" in loaded else None,
        mean=None if model != MEAN else "beside" if with_baseline else "alone",
        task=resolved.task,
        arithmetic=pick_arithmetic(precision or record["arithmetic"], device),
        views=view_numbers(recipe.scoring_views, recipe.scoring_order),
        top_k=request["top_k"],
        tokens=tokens,
    )


def _check_backbone(run: Run, record: dict[str, Any], backbone: MoEBackbone) -> None:
    request = record["request"]
    if request["backbone_sha256"] != backbone.provenance.sha256:
        raise WeightsError(
            f"the run was trained on other backbone weights ({record['backbone']['origin']})",
            whose=str(run.folder),
            fix="pass the weights that it was trained on with --weights",
            code="weights/other-weights",
        )
    top_k = request["top_k"]
    if top_k > backbone.experts:
        told = f"the field request.top_k: a block has {backbone.experts} experts"
        raise damaged(run.record, told)
    if request.get("computes", backbone.provenance.sha256) != backbone.computes_at(top_k):
        raise WeightsError(
            f"the run was trained at top_k {top_k} with another sparse form "
            f"({record['backbone']['sparse_form']})",
            whose=str(run.folder),
            fix="pass the form that it was trained with with --form",
            code="weights/other-form",
        )


def load_answerer(
    run: Run,
    kit: KitSpec,
    *,
    backbone: MoEBackbone,
    registry: Registry,
    rule: str | None = None,
    precision: str | None = None,
    use: str | None = None,
) -> tuple[Predictor, Answerer]:
    """A run's trained kit, ready to answer pictures.

    Args:
        run: A finished run.
        kit: As the run was made with it.
        backbone: The shared backbone.
        registry: The installed plugins.
        rule: See `points_of`.
        precision: fp32, bf16, or that of the adaptation if None.
        use: Which model answers; see `kept_model`.

    Raises:
        DataError: The run is not finished, or its validation tallies do not do for the rule.
        UsageError: The rule is unknown, or the run does not know which model is best.
        WeightsError: See `load_predictor`.
    """
    model = kept_model(run, use)
    predictor = load_predictor(
        run,
        kit,
        backbone=backbone,
        registry=registry,
        with_baseline=False,
        precision=precision,
        model=model,
    )
    resolved = resolve(kit, registry, frames=run.frames())
    answerer = Answerer(
        compute=predictor,
        preprocess=preprocess_of(run, backbone),
        task=resolved.task,
        context=context_of(run, resolved, kinds=predictor.kit.kinds),
        point=point_of(run, resolved, rule=rule or "", model=model),
    )
    return predictor, answerer


def preprocess_of(run: Run, backbone: MoEBackbone) -> Preprocess:
    """How the run's images are read."""
    return Preprocess(
        frame=run.frame(),
        mean=backbone.mean,
        std=backbone.std,
        frames=run.frames(),
        tiling=run.tiling(),
        bits=run.bits(),
    )


def context_of(run: Run, resolved: Resolved, *, kinds: tuple[str, ...] = ()) -> TaskContext:
    """What the task's functions know of a run."""
    return resolved.context(classes=run.classes(), frame=run.frame(), kinds=kinds)


def points_of(run: Run, resolved: Resolved, *, rule: str = "") -> tuple[Any, ...]:
    """The points of the kit and its baseline, chosen on the run's validation split.

    Args:
        run: A finished run.
        resolved: Its kit.
        rule: See `rule_of`.

    Raises:
        DataError: The validation tallies are gone or not those of the run, or do not do for the
            rule.
        UsageError: The rule is unknown.
    """
    tallies = validation_of(run, resolved.task)
    return tuple(choose(resolved, tally, rule, run) for tally in tallies)


def point_of(run: Run, resolved: Resolved, *, rule: str, model: Model) -> Any:
    """The point of one model of a run; see `points_of`."""
    return choose(resolved, validation_of(run, resolved.task, model=model)[0], rule, run)


def choose(resolved: Resolved, tally: Any, rule: str | None, run: Run) -> Any:
    """The point that a rule chooses.

    Args:
        resolved: The kit.
        tally: Of the validation split.
        rule: See `rule_of`.
        run: The run, whose rule it is if nobody names one.

    Raises:
        DataError: The tally does not do for the rule, or the run names an unknown one.
        UsageError: The user names an unknown rule.
    """
    named, kept = rule_of(resolved, rule, run), bool(kept_rule(run)) and not rule
    with as_recorded(run.record, "rule.name") if kept else contextlib.nullcontext():
        return resolved.task.judge.choose(tally, named)


def validation_of(
    run: Run, task: TaskSpec, *, model: Model = SPECIALIST, export: Path | None = None
) -> tuple[Any, ...]:
    """The validation tallies, from which points are chosen: unchanged, and of possible values.

    Args:
        run: A finished run.
        task: Its task.
        model: Whose tally; behind that of the specialist is the baseline's.
        export: The folder of an export whose own tallies are read; `open_export` has checked them.

    Raises:
        DataError: They are gone, are not those that the run wrote, or hold impossible values.
    """
    folder = run.folder if export is None else export
    stem = MEAN_VALIDATION if model == MEAN else VALIDATION
    if export is None:
        run.check_files(stem)
    tallies = task.judge.load(folder, stem)
    if model == BASELINE:
        tallies = tallies[1:]
    if not tallies:
        raise DataError(
            "the tallies of the validation split are gone",
            whose=str(folder),
            fix=f"make it again; the run is {run.folder}",
            code="data/no-tallies",
        )
    try:
        task.judge.check(tallies)
    except DataError as error:
        raise DataError(
            f"the tallies of the validation split are damaged: {error.what} ({error.whose})",
            whose=str(folder / stem),
            fix=f"restore the file, or make it again; the run is {run.folder}",
            code="data/damaged-run",
        ) from error
    return tuple(tallies)


def rule_of(resolved: Resolved, rule: str | None, run: Run | None = None) -> str:
    """The rule that a user names, or the one kept with the run, or the kit's own.

    Returns:
        Without any of them the task's first; empty if it has none.
    """
    kept = "" if run is None else kept_rule(run)
    first = next(iter(resolved.task.judge.rules), "")
    return rule or kept or resolved.kit.threshold_rule or first


def point_in_words(point: Any) -> tuple[str, ...]:
    """A point in sentences, as far as its task has some; points of before had `told` for it."""
    words = getattr(point, "in_words", None) or getattr(point, "told", None)
    return tuple(words()) if callable(words) else ()
