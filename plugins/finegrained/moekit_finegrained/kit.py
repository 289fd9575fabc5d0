"""The kit: where its experts sit, what its head reads, how it learns from few pictures a class."""

from __future__ import annotations

import functools

from moekit import KitSpec, Recipe, SpecialistSlot
from moekit.tasks.classify import ClassHead

_BLOCKS = (8, 10)

FINEGRAINED = KitSpec(
    name="finegrained",
    summary="tells classes apart that look alike, from a few pictures of each",
    task="classify",
    # Both experts and "none" together: outline and surface speak for the same token.
    slots=tuple(
        SpecialistSlot(
            block=block, experts=("object_shape", "surface"), gate="top_k_softmax", top_k=3
        )
        for block in _BLOCKS
    ),
    head_blocks=(7, 9, 11),
    build_head=functools.partial(ClassHead, summaries=("class", "mean", "deviation"), dropout=0.4),
    recipe=Recipe(
        image_size=224,
        views=4,
        epochs=12,
        baseline_epochs=20,
        batch_size=32,
        learning_rate=2e-3,
        specialist_rate=3e-4,
        weight_decay=0.05,
        average=0.98,
        label_smoothing=0.1,
        patience=4,
    ),
    demo_dataset="",
)
