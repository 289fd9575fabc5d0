"""The industrial kit: where its specialists sit, what its head reads, how it is trained."""

from __future__ import annotations

import dataclasses
import functools

from moekit import KitSpec, PooledHead, Recipe, SpecialistSlot
from moekit.tasks.classify import ClassHead
from moekit.tasks.segment import FusionSegHead
from moekit_detection.variants import object_variants
from moekit_industrial.anomaly import MemoryHead, fit_memory
from moekit_industrial.report import DEFECT
from moekit_industrial.truth import defect_masks, defect_types
from moekit_industrial.types import good_or_defective, of_regions


def _slots(*blocks: int) -> tuple[SpecialistSlot, ...]:
    return tuple(
        SpecialistSlot(block=block, experts=("defect", "defect"), gate="top_k_softmax", top_k=3)
        for block in blocks
    )


_BOTH_CLASSES = KitSpec(
    name="industrial",
    summary="tells defective parts from good ones and shows where",
    slots=_slots(7, 8, 9),
    head_blocks=(5, 7, 9),
    build_head=PooledHead,
    recipe=Recipe(
        image_size=224,
        views=2,
        epochs=6,
        baseline_epochs=10,
        least_steps=300,
        batch_size=32,
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
        "accuracy",
        "f1",
        "escape_rate",
        "overkill_rate",
    ),
    map_metrics=("pixel_auroc", "aupro", "aupro_5"),
    positive="defective",
    outcome_names={"missed": "escape", "false_alarm": "overkill"},
    prepare=good_or_defective,
    demo_dataset="elpv",
    # A result within three minutes on two cores. Validation AUROC 0.946 (baseline 0.944); with
    # batches of 32 and average 0.99 the two epochs are too short (0.926 and 0.942).
    demo_recipe={
        "image_size": 140,
        "views": 1,
        "epochs": 2,
        "baseline_epochs": 6,
        "batch_size": 16,
        "average": 0.95,
        "near_duplicate_pairs": 100,
    },
)

GOOD_ALONE = dataclasses.replace(
    _BOTH_CLASSES,
    slots=(),
    head_blocks=(5, 7),
    build_head=MemoryHead,
    recipe=Recipe(image_size=448, views=2, epochs=1, baseline_epochs=1, batch_size=8),
    threshold_rule="tail=0.02",
    fit=fit_memory,
    baseline_name="plain memory, same backbone",
)

DEFECT_TYPES = _BOTH_CLASSES.variant(
    task="classify",
    summary="tells types of defects apart",
    slots=_slots(8, 9, 10),
    head_blocks=(5, 7, 9, 10),
    build_head=functools.partial(
        ClassHead, summaries=("class", "mean", "maximum", "deviation"), dropout=0.4
    ),
    recipe=Recipe(
        image_size=224,
        views=4,
        epochs=10,
        baseline_epochs=20,
        least_steps=400,
        batch_size=32,
        learning_rate=2e-3,
        specialist_rate=5e-4,
        weight_decay=0.05,
        average=0.98,
        label_smoothing=0.1,
        class_balance=0.5,
        patience=4,
    ),
    prepare=defect_types,
)

DEFECT_MASKS = _BOTH_CLASSES.variant(
    task="segment",
    summary="outlines defects",
    slots=_slots(10),
    head_blocks=(2, 5, 8, 10),
    build_head=functools.partial(FusionSegHead, width=128, fusion="concatenation"),
    recipe=Recipe(
        image_size=448,
        fit="letterbox",
        views=2,
        epochs=6,
        baseline_epochs=8,
        batch_size=8,
        learning_rate=1e-3,
        specialist_rate=3e-4,
        weight_decay=0.05,
        average=0.98,
        patience=3,
    ),
    prepare=defect_masks,
)

DEFECT_BOXES, DEFECT_OUTLINES = object_variants(
    _BOTH_CLASSES, things="defects", experts=("defect",), fact=DEFECT, prepare=of_regions
)

INDUSTRIAL = dataclasses.replace(
    _BOTH_CLASSES,
    negatives_only=GOOD_ALONE,
    variants=(DEFECT_TYPES, DEFECT_MASKS, DEFECT_BOXES, DEFECT_OUTLINES),
)
