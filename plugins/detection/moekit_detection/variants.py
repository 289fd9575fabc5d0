"""Variants that find objects, for kits of any domain.

A kit of its own is made of the same parts: see `moekit_detection.kit`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from moekit import Dataset, KitSpec, Recipe, SpecialistSlot
from moekit_detection.head import AnchorHead, PlainQueryHead
from moekit_detection.instances.head import MaskHead
from moekit_detection.instances.regions import with_regions

Prepare = Callable[[Dataset, int], Dataset]

RECIPE: Final = Recipe(
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
)
"""How heads of these tasks are trained if nobody says otherwise."""
_HOME = "moekit-detection"
_WIDTH = 96


def scene_slots(*experts: str) -> tuple[SpecialistSlot, ...]:
    """The slot of the scene expert, in the last block, with other experts next to it.

    Args:
        experts: Names of the others.
    """
    names = (*experts, f"{_HOME}/scene")
    return (SpecialistSlot(block=11, experts=names, gate="top_k_softmax", top_k=len(names) + 1),)


def parts_of(task: str) -> dict[str, Any]:
    """The fields of `KitSpec` by which a kit answers one of the two tasks.

    Args:
        task: `detect` or `instances`.
    """
    heads: list[Callable[..., Any]] = [AnchorHead, PlainQueryHead]
    if task == "instances":
        heads = [functools.partial(MaskHead, find=find) for find in heads]
    build, plain = (functools.partial(head, width=_WIDTH) for head in heads)
    return {
        "task": f"{_HOME}/{task}",
        "head_blocks": (2, 5, 8, 11),
        "build_head": build,
        "baseline_head": plain,
        "baseline_name": "frozen backbone, plain learned queries",
        "recipe": RECIPE,
    }


def object_variants(
    kit: KitSpec,
    *,
    things: str,
    experts: Sequence[str] = (),
    fact: str = "",
    prepare: Prepare | None = None,
    **changes: Any,
) -> tuple[KitSpec, KitSpec]:
    """The variants `detect` and `instances` of a kit.

    Both learn from boxes or outlines of objects. Of sets with masks of what is positive, each
    connected region is an object (`with_regions`).

    Args:
        kit: As its plugin registers it; its name, disclaimer and whether it hides paths stay.
        things: What is found, for the summary: "defects".
        experts: Names of the kit's own experts, which share a slot with the scene expert.
        fact: Name of the fact that says the class of a sample's regions.
        prepare: What the kit does to each set before.
        changes: Fields of both variants.
    """
    words = {"detect": "draws boxes around them", "instances": "outlines each of them"}
    first, second = (
        kit.variant(
            summary=f"finds {things} and {end}",
            slots=scene_slots(*experts),
            prepare=functools.partial(_prepared, first=prepare, fact=fact),
            **{**parts_of(task), **changes},
        )
        for task, end in words.items()
    )
    return first, second


def _prepared(dataset: Dataset, seed: int, *, first: Prepare | None, fact: str) -> Dataset:
    """A set with objects; what the kit itself does comes first."""
    return with_regions(dataset if first is None else first(dataset, seed), seed, fact=fact)
