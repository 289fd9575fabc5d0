"""Variants of a kit: what belongs to a task goes with it, what belongs to the domain stays."""

import dataclasses

from moekit import KitSpec
from moekit_medical.hooks import MEDICAL

DOMAIN = {
    *("name", "slots", "head_blocks", "build_head", "recipe", "disclaimer", "stack_experts"),
    "hides_paths",
}
ASKED = {"task": "count", "summary": "counts cells", "fit": len}


def test_a_variant_keeps_the_domain_and_drops_the_task():
    variant = MEDICAL.variant(**ASKED)
    for field in dataclasses.fields(KitSpec):
        found = getattr(variant, field.name)
        if field.name in ASKED:
            assert found == ASKED[field.name]
        elif field.name in DOMAIN:
            assert found == getattr(MEDICAL, field.name)
        elif field.default_factory is not dataclasses.MISSING:
            assert found == field.default_factory()
        else:
            assert found == field.default
