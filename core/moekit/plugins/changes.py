"""Changes that a user makes to a kit without writing one: more experts, another gate or place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from moekit.contract.experts import SpecialistSlot
from moekit.contract.kits import KitSpec
from moekit.errors import DataError, UsageError
from moekit.plugins.registry import Registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitChanges:
    """What is changed in a kit's slots.

    Attributes:
        experts: Names of registered experts that are added.
        gate: Name of the gate that takes the place of the kit's; None keeps it.
        placement: Where the specialists act, see `KitSpec.placement`; `none` leaves them out. None
            keeps the kit's own.
        sites: How many runs lie side by side, see `SpecialistSlot.sites`; each has a head too.
    """

    experts: Sequence[str] = ()
    gate: str | None = None
    placement: Literal["trunk", "side", "none"] | None = None
    sites: int = 1

    def full(self, registry: Registry) -> KitChanges:
        """The same changes by full names."""
        gate = None if self.gate is None else registry.full_name("gates", self.gate)
        experts = tuple(registry.full_name("experts", name) for name in self.experts)
        return dataclasses.replace(self, experts=experts, gate=gate)

    def as_json(self, kit: KitSpec) -> dict[str, Any]:
        """The changes for a run's record, from which `recorded` makes them.

        Args:
            kit: With the changes made. Its placement is recorded even if nobody changed it, since
                a later version of the kit may have another one.
        """
        acts = kit.placement if kit.slots else "trunk"
        placement = "none" if self.placement == "none" else acts
        other = {} if placement == "trunk" else {"placement": placement}
        return {"experts": list(self.experts), "gate": self.gate, **other}

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> KitChanges:
        """The changes of a run; one that says nothing of a placement has that of the trunk."""
        return cls(**{"placement": "trunk", **record})


def changed(kit: KitSpec, changes: KitChanges, registry: Registry) -> KitSpec:
    """The kit with the changes made.

    A slot in which each token may take every option keeps that; else its `top_k` stays. Without
    specialists the head is trained as long as that of the baseline is.

    Raises:
        UsageError: An expert or gate is unknown, the kit has no slot to change, or experts are to
            be changed that are left out.
    """
    made = _changed(kit, changes, registry)
    if changes.sites == 1:
        return made
    from moekit.plugins.sites import side_by_side

    return side_by_side(made, changes.sites, registry)


def _changed(kit: KitSpec, changes: KitChanges, registry: Registry) -> KitSpec:
    in_slots = bool(changes.experts) or changes.gate is not None
    if not in_slots and changes.placement in (None, kit.placement):
        return kit
    if not kit.slots:
        if not in_slots and changes.placement == "trunk":
            return kit
        raise UsageError(
            "the kit has no specialists that could be changed",
            whose=f"kit {kit.name}",
            fix="leave out --expert, --gate and --placement, or choose another kit",
            code="usage/no-experts",
        )
    if changes.placement == "none":
        if in_slots:
            raise UsageError(
                "experts and gates are changed that are left out",
                whose="--placement none",
                fix="leave out --expert and --gate, or choose another placement",
                code="usage/option-conflict",
            )
        recipe = kit.recipe.model_copy(update={"epochs": kit.recipe.baseline_epochs})
        return dataclasses.replace(kit, slots=(), stack_experts=(), recipe=recipe)
    if changes.placement is not None:
        kit = dataclasses.replace(kit, placement=changes.placement)
    for name in changes.experts:
        registry.owner("experts", name)
    if changes.gate is not None:
        registry.owner("gates", changes.gate)
    return dataclasses.replace(kit, slots=tuple(_slot(slot, changes) for slot in kit.slots))


def kit_of_data(kit: KitSpec, *, negatives_only: bool) -> KitSpec:
    """The kit for such data.

    Args:
        kit: As it is registered.
        negatives_only: Whether the training split holds negatives only.

    Raises:
        DataError: The kit needs positives to learn from.
    """
    if not negatives_only:
        return kit
    if kit.negatives_only is None:
        raise DataError(
            "the training split holds one class only",
            whose=f"kit {kit.name}",
            fix="add samples of the other class, or choose a kit that learns from one class",
            code="data/one-class",
        )
    return kit.negatives_only


def kit_of_frames(kit: KitSpec, frames: int) -> KitSpec:
    """The kit for samples of that many frames: for stacks, with its `stack_experts` in each slot.

    What it returns names no `stack_experts` any more, so that none is added twice.
    """
    changes = KitChanges(experts=kit.stack_experts if frames > 1 else ())
    slots = tuple(_slot(slot, changes) for slot in kit.slots)
    return dataclasses.replace(kit, slots=slots, stack_experts=())


def _slot(slot: SpecialistSlot, changes: KitChanges) -> SpecialistSlot:
    soft = slot.top_k == len(slot.experts) + 1
    experts = (*slot.experts, *changes.experts)
    return dataclasses.replace(
        slot,
        experts=experts,
        gate=changes.gate or slot.gate,
        top_k=len(experts) + 1 if soft else slot.top_k,
    )
