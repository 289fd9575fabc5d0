"""The kit: where its expert sits, what its head reads, how it is trained."""

from __future__ import annotations

import dataclasses
import functools

from moekit import KitSpec
from moekit_detection.fit import fit_box_prototypes
from moekit_detection.instances.regions import with_regions
from moekit_detection.prototypes import PrototypeBoxHead
from moekit_detection.variants import RECIPE, parts_of, scene_slots

_BOXES = KitSpec(
    name="detection",
    summary="finds objects and draws boxes around them, small ones too",
    slots=scene_slots(),
    **parts_of("detect"),
)

INSTANCES = _BOXES.variant(
    summary="finds objects and outlines each of them",
    prepare=functools.partial(with_regions, fact="defect"),
    **parts_of("instances"),
)

FEW = KitSpec(
    name="detection-few",
    summary="finds objects after a few examples of each class, without training",
    slots=(),
    **{
        **parts_of("detect"),
        "head_blocks": (8, 11),
        "build_head": PrototypeBoxHead,
        "baseline_head": functools.partial(PrototypeBoxHead, clusters=1),
        "baseline_name": "frozen backbone, one mean of what is of no class",
        "recipe": RECIPE.changed({"views": 1, "epochs": 1, "baseline_epochs": 1}),
    },
    fit=fit_box_prototypes,
)

DETECTION = dataclasses.replace(_BOXES, variants=(INSTANCES,))
