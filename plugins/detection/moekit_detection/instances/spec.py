"""The record of the task `instances`."""

from __future__ import annotations

import dataclasses

from moekit import Field
from moekit_detection.correcting import OUTLINED
from moekit_detection.instances.answers import CENTRE, INSTANCE_ANSWERING
from moekit_detection.instances.example import small_mask_head, write_masked_example
from moekit_detection.instances.judge import INSTANCE_JUDGE
from moekit_detection.instances.learn import INSTANCE_LEARN
from moekit_detection.instances.metrics import INSTANCE_HEADLINES, TASK
from moekit_detection.instances.pixels import FEATURE, KERNEL
from moekit_detection.instances.showing import INSTANCE_SHOW
from moekit_detection.spec import DETECT

_ANY = float("inf")

INSTANCES = dataclasses.replace(
    DETECT,
    name=TASK,
    summary="the pixels of each object, with a class, a score and a box",
    source="Hariharan et al. 2014, arXiv:1407.1808; Lin et al. 2014, Microsoft COCO, "
    "arXiv:1405.0312",
    outputs=(
        *DETECT.outputs,
        Field(
            name=FEATURE,
            summary="features of places over the whole input, at the head's own stride",
            tolerance=_ANY,
            mean_tolerance=0.02,
            turns=True,
        ),
        Field(
            name=KERNEL,
            summary="weights of the features for each query: their sum is the log-odds that a "
            "place belongs to its object",
            # They grow as boxes get smaller, and queries that are equal change places: masks are
            # compared by what is derived from both.
            tolerance=_ANY,
            mean_tolerance=_ANY,
        ),
    ),
    derived=(
        *DETECT.derived,
        Field(
            name=CENTRE,
            summary="the chance that the middle of a query's box belongs to its object, from high "
            "to low",
            bounds=(0.0, 1.0),
            tolerance=1e-2,
        ),
    ),
    metrics=INSTANCE_HEADLINES,
    learn=INSTANCE_LEARN,
    answering=INSTANCE_ANSWERING,
    judge=INSTANCE_JUDGE,
    show=INSTANCE_SHOW,
    example=write_masked_example,
    example_head=small_mask_head,
    correcting=OUTLINED,
)
"""Objects and their pixels, from a kit whose head returns also `feature_BFhw` and `kernel_BQF`."""
