"""The record of the task `detect`."""

from __future__ import annotations

from torch import nn

from moekit import Field, HeadSite, TaskSpec
from moekit.data import unview_boxes
from moekit_detection.answers import ANSWERING, SCORE
from moekit_detection.correcting import CORRECTING
from moekit_detection.example import write_example
from moekit_detection.head import AnchorHead
from moekit_detection.judging.judge import JUDGE
from moekit_detection.judging.metrics import HEADLINES, TASK
from moekit_detection.learn import LEARN
from moekit_detection.records import BOX, LOGIT
from moekit_detection.showing import SHOW

_ANY = float("inf")
"""Queries that are equal to rounding change places in graphs; what is compared is the mean."""


def small_head(site: HeadSite) -> nn.Module:
    """Few channels and queries, for conformance checks and tests."""
    return AnchorHead(site, width=16, stem=16, queries=20, layers=2, heads=2, points=2, pairs=1)


DETECT = TaskSpec(
    name=TASK,
    summary="boxes around objects, with a class and a score each",
    source="Lin et al. 2014, Microsoft COCO, arXiv:1405.0312; Carion et al. 2020, DETR, "
    "arXiv:2005.12872",
    outputs=(
        Field(
            name=LOGIT,
            summary="log-odds of each class for each query; none of them is high for no object",
            tolerance=_ANY,
            mean_tolerance=0.05,
        ),
        Field(
            name=BOX,
            summary="centre across and down, width and height of each query's box, as shares of "
            "the input's sides",
            bounds=(0.0, 1.0),
            tolerance=_ANY,
            mean_tolerance=0.02,
            turns=unview_boxes,
        ),
    ),
    derived=(
        Field(
            name=SCORE,
            summary="the scores of the queries from high to low, whatever their order",
            bounds=(0.0, 1.0),
            tolerance=1e-3,
        ),
    ),
    metrics=HEADLINES,
    learn=LEARN,
    answering=ANSWERING,
    judge=JUDGE,
    show=SHOW,
    example=write_example,
    example_head=small_head,
    labelled=False,
    correcting=CORRECTING,
)
"""Objects and their boxes, from a kit whose head returns `logit_BQC` and `box_BQ4`."""
