"""A trained run, opened to score images: what `predict` and `watch` begin with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from moekit.data.predictions import Predictions
    from moekit.data.stream import Preprocess
    from moekit.plugins.records import KitSpec
    from moekit.plugins.registry import Registry
    from moekit.runtime.predictor import Predictor
    from moekit.training.run import Run

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
precision_option = click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="Arithmetic."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A run that is ready to score.

    Attributes:
        predictor: Scores batches.
        preprocess: Reads images.
        validation: The run's validation scores.
        threshold: Operating threshold.
        review: The threshold of the review zone; None for no zone.
        made_with: What scores depend on.
        provenance: What verdicts depend on, `made_with` included, and what readers must know.
    """

    predictor: Predictor
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
) -> Trained:
    """Opens the backbone and a run's trained kit, and chooses the thresholds.

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

    Raises:
        DataError: The run is not finished, or its validation scores do not do for a rule.
        UsageError: A rule is unknown, or the review zone would be empty.
        WeightsError: The backbone is another one, or the trained weights are damaged.
    """
    from moekit.cli.session import open_backbone
    from moekit.data.predictions import Predictions
    from moekit.evaluation.evaluate import load_predictor, preprocess_of
    from moekit.evaluation.threshold import choose_threshold, review_threshold

    record = run.read_finished()
    validation = Predictions.read_csv(run.validation)
    scores, labels = validation.scores, validation.labels
    point = choose_threshold(scores, labels, rule=threshold_rule or spec.threshold_rule)
    low = None if review is None else review_threshold(review, scores, labels, point=point)
    backbone = open_backbone(
        device=device,
        weights=weights,
        architecture=record["backbone"]["architecture"],
        form=form,
    )
    predictor = load_predictor(
        run, spec, backbone=backbone, registry=registry, with_baseline=False, precision=precision
    )
    made_with = {
        "kit": spec.name,
        "kit_sha256": record["weights"]["kit_sha256"],
        "backbone_sha256": backbone.provenance.sha256,
        "precision": predictor.arithmetic,
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
        predictor=predictor,
        preprocess=preprocess_of(run, backbone),
        validation=validation,
        threshold=point.threshold,
        review=low,
        made_with=made_with,
        provenance=provenance,
    )
