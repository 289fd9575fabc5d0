"""The record of the task `segment`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from moekit.contract.answers import TaskContext
from moekit.contract.outputs import Field
from moekit.contract.tasks import Judge, Show, TaskSpec
from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.tasks.segment.answers import ANSWERING
from moekit.tasks.segment.classes import background_of
from moekit.tasks.segment.conformal import RULES, choose_bias, share_of_rule
from moekit.tasks.segment.correcting import CORRECTING
from moekit.tasks.segment.example import write_example
from moekit.tasks.segment.head import LOGIT, LinearSegHead
from moekit.tasks.segment.intervals import compare, complete, facts
from moekit.tasks.segment.learn import LEARN
from moekit.tasks.segment.metrics import TASK
from moekit.tasks.segment.outcome import outcome
from moekit.tasks.segment.read import read_masks
from moekit.tasks.segment.sections import sections
from moekit.tasks.segment.show import COLUMNS, NAMES, caption, draw, files, gather
from moekit.tasks.segment.storage import load_tallies, save_tallies
from moekit.tasks.segment.tally import SegmentTallier, SegmentTally, check_tallies


def _words(context: TaskContext, point: Any) -> dict[str, Any]:
    named = [context.classes[number] for number in background_of(context)]
    return {"background": named, "point": None if point is None else point.as_json()}


def _check_rule(rule: str, samples: Sequence[Sample]) -> None:
    """Refuses an unknown rule, and one that so few pictures cannot do for."""
    share = share_of_rule(rule)
    if share is not None and len(samples) < 1 / share - 1 - 1e-9:
        raise DataError(
            f"{len(samples)} pictures cannot hold the missed share to {share:g}",
            whose="the validation split",
            fix=f"give at least {math.ceil(1 / share - 1 - 1e-9)} with foreground there, or allow "
            "a greater share",
            code="data/too-few",
        )


def _reference(tally: SegmentTally) -> Any:
    """(N,) the shares of foreground that a line is compared with."""
    return tally.foreground_N


SEGMENT = TaskSpec(
    name=TASK,
    summary="a class for each pixel",
    source="Everingham et al. 2015, International Journal of Computer Vision 111:98-136",
    outputs=(
        Field(
            name=LOGIT,
            summary="logit of each class over the whole input, at the head's own stride",
            tolerance=1e-3,
            mean_tolerance=1e-4,
            turns=True,
        ),
    ),
    metrics=("miou", "dice", "pixel_accuracy", "boundary_iou", "min_image_iou", "foreground_iou"),
    learn=LEARN,
    answering=ANSWERING,
    judge=Judge(
        tallier=SegmentTallier,
        save=save_tallies,
        load=load_tallies,
        rules=RULES,
        choose=choose_bias,
        check_rule=_check_rule,
        words=_words,
        facts=facts,
        outcome=outcome,
        check=check_tallies,
        compare=compare,
        complete=complete,
        reference=_reference,
        read=read_masks,
    ),
    show=Show(
        columns=COLUMNS,
        draw=draw,
        right=SegmentTally.right,
        sections=sections,
        names=NAMES,
        files=files,
        caption=caption,
        monitor="foreground",
        gather=gather,
    ),
    example=write_example,
    example_head=LinearSegHead,
    correcting=CORRECTING,
    labelled=False,
)
"""A class for each pixel, from a kit whose head returns `logit_BChw`."""
