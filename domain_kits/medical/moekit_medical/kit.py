"""The medical kit: where its specialists sit, what its head reads, how it is trained."""

from __future__ import annotations

import dataclasses
import functools
from typing import Final

from moekit import KitSpec, PooledHead, Recipe, SpecialistSlot
from moekit.tasks.classify import ClassHead
from moekit.tasks.segment import FusionSegHead
from moekit_detection.variants import RECIPE, object_variants
from moekit_medical.demo_inputs import demo_inputs
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.hidden import hide_names
from moekit_medical.predict import predict_lesions, predict_objects, predict_series

_SUMMARIES: Final = ("class", "mean", "maximum", "deviation", "centre")


def _slots(*blocks: int) -> tuple[SpecialistSlot, ...]:
    return tuple(
        SpecialistSlot(block=block, experts=("lesion", "lesion"), gate="top_k_softmax", top_k=3)
        for block in blocks
    )


_CANDIDATES = KitSpec(
    name="medical",
    summary="tells nodules from other candidates on chest CT, and scores whole series",
    slots=_slots(7, 8, 9, 10),
    head_blocks=(5, 8, 11),
    build_head=functools.partial(PooledHead, summaries=_SUMMARIES),
    recipe=Recipe(
        image_size=112,
        views=4,
        epochs=8,
        scoring_views=4,
        baseline_epochs=40,
        # 480 crops make 64 steps in 8 epochs. Validation AUROC: 0.951 after 8 epochs, 0.996 in
        # epoch 5 of 24; the baseline 0.989 at best.
        least_steps=190,
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
    # Some minutes on two cores. Validation AUROC 0.991 (baseline 0.990).
    demo_recipe={
        "views": 2,
        "epochs": 6,
        "baseline_epochs": 20,
        "batch_size": 16,
        "average": 0.95,
        "near_duplicate_pairs": 100,
    },
    stack_experts=("axial",),
    prepare=hide_names,
    hides_paths=True,
)

CLASSES = _CANDIDATES.variant(
    task="classify",
    summary="tells classes of crops apart, such as nodules and other candidates",
    build_head=functools.partial(ClassHead, summaries=_SUMMARIES, dropout=0.4),
    recipe=Recipe(
        image_size=112,
        views=4,
        epochs=8,
        scoring_views=4,
        baseline_epochs=40,
        least_steps=190,
        batch_size=64,
        learning_rate=1e-3,
        specialist_rate=3e-4,
        weight_decay=0.05,
        average=0.99,
        label_smoothing=0.05,
        class_balance=0.5,
        patience=3,
    ),
    prepare=hide_names,
)
"""Crops, one class each; they are answered one by one, as the core answers images."""

LESIONS = _CANDIDATES.variant(
    task="segment",
    summary="outlines lesions on axial CT slices, and puts them back into whole series",
    slots=_slots(9, 10),
    head_blocks=(2, 5, 8, 10),
    build_head=functools.partial(FusionSegHead, width=128),
    recipe=Recipe(
        image_size=336,
        fit="letterbox",
        views=2,
        epochs=8,
        baseline_epochs=10,
        least_steps=300,
        batch_size=8,
        learning_rate=1e-3,
        specialist_rate=3e-4,
        weight_decay=0.05,
        average=0.98,
        patience=3,
    ),
    predict=predict_lesions,
    prepare=hide_names,
)
"""Whole slices, each pixel a lesion or not; see the loader `lesions`."""

LESION_BOXES, _OBJECTS = object_variants(
    _CANDIDATES,
    things="lesions on axial CT slices",
    experts=("lesion",),
    prepare=hide_names,
    recipe=RECIPE.changed({"image_size": 518, "views": 2, "view_order": "mirror"}),
)

LESION_OBJECTS = dataclasses.replace(_OBJECTS, predict=predict_objects)
"""As `LESIONS`, but lesions that touch stay apart."""

MEDICAL = dataclasses.replace(
    _CANDIDATES, variants=(CLASSES, LESIONS, LESION_BOXES, LESION_OBJECTS)
)
