"""The kit: where its expert sits, what its head reads, how it is trained."""

from __future__ import annotations

import dataclasses
import functools

from moekit import KitSpec
from moekit_detection.instances.regions import with_regions
from moekit_detection.variants import parts_of, scene_slots

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

DETECTION = dataclasses.replace(_BOXES, variants=(INSTANCES,))
