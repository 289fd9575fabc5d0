"""The medical kit: where its specialists sit, what its head reads, how it is trained."""

from __future__ import annotations

import functools

from moekit import KitSpec, PooledHead, Recipe, SpecialistSlot
from moekit_medical.demo_inputs import demo_inputs
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.predict import predict_series

_BLOCKS = (7, 8, 9, 10)

MEDICAL = KitSpec(
    name="medical",
    summary="tells nodules from other candidates on chest CT, and scores whole series",
    slots=tuple(
        SpecialistSlot(block=block, experts=("lesion", "lesion"), gate="top_k_softmax", top_k=3)
        for block in _BLOCKS
    ),
    head_blocks=(5, 8, 11),
    build_head=functools.partial(
        PooledHead, summaries=("class", "mean", "maximum", "deviation", "centre")
    ),
    recipe=Recipe(
        image_size=112,
        views=4,
        epochs=8,
        scoring_views=4,
        baseline_epochs=40,
        batch_size=64,
        learning_rate=1e-3,
        specialist_rate=3e-4,
        weight_decay=0.05,
        soft_targets=False,
        average=0.99,
        patience=3,
    ),
    metrics=(
        "auroc",
        "average_precision",
        "sensitivity",
        "specificity",
        "sensitivity_at_95_specificity",
        "specificity_at_95_sensitivity",
        "ece",
        "brier",
    ),
    positive="nodule",
    outcome_names={"missed": "missed nodule", "false_alarm": "false positive"},
    demo_dataset="ct_demo",
    disclaimer=DISCLAIMER,
    predict=predict_series,
    demo_inputs=demo_inputs,
    stack_experts=("axial",),
)
