"""The record of the task `score`."""

from __future__ import annotations

from moekit.contract.outputs import Field
from moekit.contract.tasks import Show, TaskSpec
from moekit.tasks.score.answers import ANSWERING
from moekit.tasks.score.correcting import CORRECTING
from moekit.tasks.score.drawing import COLUMNS, caption, draw
from moekit.tasks.score.example import ScoreExampleHead, write_example
from moekit.tasks.score.judge import JUDGE
from moekit.tasks.score.learn import LEARN
from moekit.tasks.score.show import NAMES, right, sections
from moekit.tasks.score.threshold import PASS

SCORE = TaskSpec(
    name="score",
    summary="the probability that an image is positive, and where",
    source="two-class detection theory; ROC analysis, Hanley and McNeil 1982, Radiology 143(1)",
    outputs=(
        Field(
            name="logit_B",
            summary="log-odds of the positive class",
            dtype="float64",
            tolerance=float("inf"),
        ),
        Field(
            name="map_BHW",
            summary="how strongly each patch speaks for the positive class",
            optional=True,
            bounds=(0.0, 1.0),
            tolerance=0.05,
            mean_tolerance=1e-3,
            turns=True,
        ),
        Field(
            name="kind_B",
            summary="number of the kind of image, -1 for none that was trained on",
            dtype="int64",
            optional=True,
            tolerance=0.0,
        ),
    ),
    derived=(
        Field(
            name="score_B",
            summary="probability of the positive class",
            bounds=(0.0, 1.0),
            tolerance=1e-4,
        ),
    ),
    metrics=("auroc", "average_precision", "accuracy"),
    learn=LEARN,
    answering=ANSWERING,
    judge=JUDGE,
    show=Show(
        columns=COLUMNS,
        draw=draw,
        right=right,
        sections=sections,
        names=NAMES,
        caption=caption,
        monitor="score",
        quiet=(PASS,),
    ),
    example=write_example,
    example_head=ScoreExampleHead,
    correcting=CORRECTING,
)
