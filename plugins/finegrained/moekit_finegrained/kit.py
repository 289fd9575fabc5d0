"""The kit: where its experts sit, what its head reads, how it learns from few pictures a class."""

from __future__ import annotations

import functools

from moekit import KitSpec, Recipe, SpecialistSlot
from moekit.tasks.classify import ClassHead

_BLOCKS = (6, 7, 8, 9, 10, 11)

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
    # Class token and patch mean of the last four blocks, as in linear probes of DINOv2. Trained in
    # one shop and asked in another, it is far better than the last block only.
    head_blocks=(8, 9, 10, 11),
    build_head=functools.partial(ClassHead, summaries=("class", "mean"), dropout=0.4),
    recipe=Recipe(
        image_size=224,
        views=8,
        scoring_views=2,
        view_order="crop",
        epochs=14,
        baseline_epochs=60,
        batch_size=16,
        learning_rate=1e-3,
        specialist_rate=1e-3,
        weight_decay=0.05,
        average=0.98,
        label_smoothing=0.1,
        patience=6,
    ),
    demo_dataset="",
)
