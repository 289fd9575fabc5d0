"""The industrial kit: where its specialists sit, what its head reads, how it is trained."""

from __future__ import annotations

from moekit import KitSpec, PooledHead, Recipe, SpecialistSlot

_BLOCKS = (7, 8, 9)

INDUSTRIAL = KitSpec(
    name="industrial",
    summary="tells defective parts from good ones and shows where",
    slots=tuple(
        SpecialistSlot(block=block, experts=("defect", "defect"), gate="top_k_softmax", top_k=3)
        for block in _BLOCKS
    ),
    head_blocks=(5, 7, 9),
    build_head=PooledHead,
    recipe=Recipe(
        image_size=224,
        views=2,
        epochs=6,
        baseline_epochs=10,
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
    demo_dataset="elpv",
)
