"""The kit: where its expert sits, what its head reads, how it is trained."""

from __future__ import annotations

import dataclasses
import functools

from moekit import KitSpec, Recipe, SpecialistSlot
from moekit_detection.head import AnchorHead, PlainQueryHead
from moekit_detection.instances.head import MaskHead
from moekit_detection.instances.regions import with_regions

_BOXES = KitSpec(
    name="detection",
    summary="finds objects and draws boxes around them, small ones too",
    task="detect",
    slots=(SpecialistSlot(block=11, experts=("scene",), gate="top_k_softmax", top_k=2),),
    head_blocks=(2, 5, 8, 11),
    build_head=functools.partial(AnchorHead, width=96),
    baseline_head=functools.partial(PlainQueryHead, width=96),
    baseline_name="frozen backbone, plain learned queries",
    recipe=Recipe(
        image_size=644,
        fit="letterbox",
        views=4,
        view_order="dihedral",
        epochs=14,
        baseline_epochs=10,
        batch_size=4,
        learning_rate=2e-3,
        specialist_rate=3e-4,
        weight_decay=0.05,
        average=0.98,
        patience=6,
    ),
)

INSTANCES = _BOXES.variant(
    task="instances",
    summary="finds objects and outlines each of them",
    build_head=functools.partial(MaskHead, find=AnchorHead, width=96),
    baseline_head=functools.partial(MaskHead, find=PlainQueryHead, width=96),
    baseline_name=_BOXES.baseline_name,
    prepare=functools.partial(with_regions, fact="defect"),
)

DETECTION = dataclasses.replace(_BOXES, variants=(INSTANCES,))
