"""The record of the task `classify`."""

from __future__ import annotations

from typing import Any

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.contract.outputs import Field
from moekit.contract.tasks import Answering, Judge, Level, Show, SummaryJob, TaskSpec
from moekit.data.samples import UNSEEN
from moekit.tasks.classify.answers import (
    NONE_OF_THESE,
    class_answers,
    merge_views,
    unreadable_row,
)
from moekit.tasks.classify.compare import compare_models
from moekit.tasks.classify.correcting import CORRECTING
from moekit.tasks.classify.example import small_head, write_example
from moekit.tasks.classify.learn import LEARN
from moekit.tasks.classify.outcome import outcome
from moekit.tasks.classify.per_class import class_rows
from moekit.tasks.classify.point import (
    RULES,
    check_rule,
    chosen_with_interval,
    level_of,
    moved,
)
from moekit.tasks.classify.read import read_answers
from moekit.tasks.classify.sections import class_sections
from moekit.tasks.classify.show import COLUMNS, NAMES, caption, draw_strip
from moekit.tasks.classify.store import load_tallies, save_tallies
from moekit.tasks.classify.tally import LACKING, ClassTallier, ClassTally, check_tallies


def _words(context: TaskContext, point: Any) -> dict[str, Any]:
    del context
    chosen = None if point is None else point.as_json()
    return {"none_of_these": NONE_OF_THESE, "point": chosen}


def _facts(tally: ClassTally) -> dict[str, Any]:
    """How many items each class has that has any, and how many are of none."""
    if tally.labels_NC is not None:
        counts, none = tally.labels_NC.sum(0), int((tally.labels_NC.sum(1) == 0).sum())
    else:
        labels_N = tally.strata_N
        counts = np.bincount(labels_N[labels_N != UNSEEN], minlength=len(tally.classes))
        none = int((labels_N == UNSEEN).sum())
    per_class = {
        name: int(count) for name, count in zip(tally.classes, counts, strict=True) if count
    }
    return {"items_by_class": per_class, "of_no_class": none}


def _complete(summary: dict[str, Any], job: SummaryJob) -> dict[str, Any]:
    """Adds `per_class`: recall and precision of each class with their intervals."""
    rows = class_rows(job.tallies[0], job.points[0])
    return {**summary, "per_class": [row.as_json() for row in rows]}


def _monitored(tally: ClassTally) -> np.ndarray:
    """(N,) the greatest probability of each item."""
    greatest: np.ndarray = tally.probability_NC.max(1)
    return greatest


CLASSIFY = TaskSpec(
    name="classify",
    summary="which of a set of classes an item is of, or which of several",
    source="softmax regression; binary cross entropy for several labels",
    outputs=(
        Field(
            name="logit_BC",
            summary="log-odds of the classes; the softmax over them, or of several labels the "
            "sigmoid of each, are probabilities",
            dtype="float64",
            tolerance=1e-2,
            mean_tolerance=1e-3,
        ),
        Field(
            name="unlike_B",
            summary="how unlike all training classes the item is; higher is stranger",
            optional=True,
            tolerance=1e-2,
        ),
    ),
    metrics=(
        "balanced_accuracy",
        "top1",
        "top5",
        "macro_auroc",
        "macro_f1",
        "ece_top",
        "mean_average_precision",
        "label_macro_f1",
        "unseen_auroc",
    ),
    learn=LEARN,
    answering=Answering(
        merge=merge_views,
        answers=class_answers,
        unreadable=unreadable_row,
        level=Level(of=level_of, moved=moved),
    ),
    judge=Judge(
        tallier=ClassTallier,
        save=save_tallies,
        load=load_tallies,
        rules=RULES,
        check_rule=check_rule,
        choose=chosen_with_interval,
        words=_words,
        facts=_facts,
        outcome=outcome,
        check=check_tallies,
        compare=compare_models,
        complete=_complete,
        reference=_monitored,
        read=read_answers,
        lacking=LACKING,
    ),
    show=Show(
        columns=COLUMNS,
        draw=draw_strip,
        right=ClassTally.right,
        sections=class_sections,
        caption=caption,
        names=NAMES,
        monitor="probability",
    ),
    example=write_example,
    example_head=small_head,
    correcting=CORRECTING,
)
