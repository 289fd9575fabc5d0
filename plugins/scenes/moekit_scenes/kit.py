"""The kit: where its experts sit, what its head reads, how it is trained."""

from __future__ import annotations

import functools

from moekit import KitSpec, Recipe, SpecialistSlot
from moekit.tasks.segment import FusionSegHead

SCENES = KitSpec(
    name="scenes",
    summary="outlines the parts of a scene",
    task="segment",
    # In the last block only: two more cost twice the time and have shown no gain.
    slots=(
        SpecialistSlot(block=11, experts=("context", "context"), gate="top_k_softmax", top_k=3),
    ),
    head_blocks=(2, 5, 8, 11),
    build_head=functools.partial(FusionSegHead, width=96),
    recipe=Recipe(
        image_size=490,
        fit="letterbox",
        views=2,
        view_order="mirror",
        epochs=8,
        baseline_epochs=8,
        least_steps=300,
        batch_size=4,
        learning_rate=2e-3,
        specialist_rate=5e-4,
        weight_decay=0.05,
        average=0.98,
        patience=4,
    ),
    # Of a scene every part counts: there is no background.
    options={"background": ()},
)
