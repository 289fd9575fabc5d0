"""A trained run, opened to score images: what `predict` and `watch` begin with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from moekit.contract.kits import KitSpec
    from moekit.data.stream import Preprocess
    from moekit.plugins.registry import Registry
    from moekit.runs.run import Run
    from moekit.runtime.predictor import Scorer
    from moekit.tasks.score.predictions import Predictions

rule_option = click.option(
    "--threshold-rule",
    metavar="RULE",
    help="How the threshold is chosen on the run's validation scores; the kit's own where not "
    "given.",
)
review_option = click.option(
    "--review",
    metavar="LOW",
    help="Scores from LOW up to the threshold are for review: a number between 0 and 1, or "
    "max-false-alarm=SHARE on the run's validation scores.",
)
backend_option = click.option(
    "--backend",
    default="torch",
    show_default=True,
    metavar="NAME",
    help="What computes: torch, or an export of the run: onnx, openvino, openvino-int8, or its "
    "folder.",
)
precision_option = click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="Arithmetic."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A run that is ready to score.

    Attributes:
        predictor: Scores batches.
        preprocess: Reads images.
        validation: The run's validation scores; with an export those that it gave itself.
        threshold: Operating threshold.
        review: The threshold of the review zone; None for no zone.
        made_with: What scores depend on.
        provenance: What verdicts depend on, `made_with` included, and what readers must know.
    """

    predictor: Scorer
    preprocess: Preprocess
    validation: Predictions
    threshold: float
    review: float | None
    made_with: Mapping[str, Any]
    provenance: dict[str, Any]


def open_trained(
    spec: KitSpec,
    run: Run,
    *,
    registry: Registry,
    threshold_rule: str | None,
    review: str | None,
    precision: str | None,
    weights: str,
    form: str,
    device: str,
    backend: str = "torch",
) -> Trained:
    """Opens a run's trained kit, with the backbone or as an export, and chooses the thresholds.

    Args:
        spec: The kit as the run was made with it.
        run: The run.
        registry: The installed plugins.
        threshold_rule: See `choose_threshold`; the kit's own where None.
        review: See `review_threshold`; None for no review zone.
        precision: fp32, bf16, or that of the adaptation where None.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.
        backend: torch, or an export; see `moekit.export.record.open_export`.

    Raises:
        DataError: The run is not finished, its validation scores do not do for a rule, or there is
            no such export.
        UsageError: A rule is unknown, the review zone would be empty, or an option is given that an
            export cannot follow.
        WeightsError: The backbone is another one, the trained weights are damaged, or the export is
            of others.
    """
    from moekit.tasks.score.threshold import choose_threshold, review_threshold

    record = run.read_finished()
    if backend == "torch":
        opened = _open_torch(spec, run, registry, precision, weights, form, device)
    else:
        _refuse_options(precision=precision, weights=weights, form=form, device=device)
        opened = _open_export(spec, run, backend)
    scores, labels = opened.validation.scores, opened.validation.labels
    point = choose_threshold(scores, labels, rule=threshold_rule or spec.threshold_rule)
    low = None if review is None else review_threshold(review, scores, labels, point=point)
    made_with = {
        "kit": spec.name,
        "kit_sha256": record["weights"]["kit_sha256"],
        "backbone_sha256": record["request"]["backbone_sha256"],
        **opened.arithmetic,
    }
    provenance = {
        **made_with,
        "threshold": point.threshold,
        "rule": point.rule,
        "disclaimer": spec.disclaimer,
    }
    if low is not None:
        provenance["review"] = low
    if record.get("caution"):
        provenance["trained on"] = record["caution"]
    return Trained(
        predictor=opened.predictor,
        preprocess=opened.preprocess,
        validation=opened.validation,
        threshold=point.threshold,
        review=low,
        made_with=made_with,
        provenance=provenance,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Opened:
    predictor: Scorer
    preprocess: Preprocess
    validation: Predictions
    arithmetic: dict[str, Any]


def _open_torch(
    spec: KitSpec,
    run: Run,
    registry: Registry,
    precision: str | None,
    weights: str,
    form: str,
    device: str,
) -> _Opened:
    from moekit.cli.session import open_backbone
    from moekit.evaluation.evaluate import load_predictor, preprocess_of
    from moekit.tasks.score.predictions import Predictions

    backbone = open_backbone(
        device=device,
        weights=weights,
        architecture=run.read_finished()["backbone"]["architecture"],
        form=form,
    )
    predictor = load_predictor(
        run, spec, backbone=backbone, registry=registry, with_baseline=False, precision=precision
    )
    return _Opened(
        predictor=predictor,
        preprocess=preprocess_of(run, backbone),
        validation=Predictions.read_csv(run.validation),
        arithmetic={"precision": predictor.arithmetic},
    )


def _open_export(spec: KitSpec, run: Run, backend: str) -> _Opened:
    import torch

    from moekit.evaluation.evaluate import check_kit
    from moekit.export.predictor import ExportedPredictor
    from moekit.export.record import open_export
    from moekit.export.sessions import open_session
    from moekit.tasks.score.predictions import Predictions

    check_kit(run, spec)
    export = open_export(run, backend)
    session = open_session(
        export.model, format_=export.record.format, threads=torch.get_num_threads()
    )
    return _Opened(
        predictor=ExportedPredictor(
            session, precision=export.record.precision, kinds=export.record.kinds
        ),
        preprocess=export.preprocess,
        validation=Predictions.read_csv(export.validation),
        arithmetic={
            "precision": export.record.precision,
            "backend": export.record.format,
            "model_sha256": export.record.files[export.record.model],
        },
    )


def _refuse_options(*, precision: str | None, weights: str, form: str, device: str) -> None:
    from moekit.errors import UsageError

    given = {
        "--precision": precision is not None,
        "--weights": weights != "auto",
        "--form": form != "auto",
        "--device": device not in ("auto", "cpu"),
    }
    named = [option for option, is_given in given.items() if is_given]
    if named:
        raise UsageError(
            "an export has its own weights and arithmetic, and runs on the CPU",
            whose=", ".join(named),
            fix="leave it out, or use --backend torch",
        )
