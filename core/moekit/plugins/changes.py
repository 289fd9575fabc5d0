"""Changes that a user makes to a kit without writing one: more experts, another gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from moekit.errors import UsageError
from moekit.plugins.records import KitSpec, SpecialistSlot
from moekit.plugins.registry import Registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitChanges:
    """What is changed in each of a kit's slots.

    Attributes:
        experts: Names of registered experts that are added.
        gate: Name of the gate that takes the place of the kit's; None keeps it.
    """

    experts: Sequence[str] = ()
    gate: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The changes for a run's record."""
        return {"experts": list(self.experts), "gate": self.gate}


def changed(kit: KitSpec, changes: KitChanges, registry: Registry) -> KitSpec:
    """The kit with the changes made.

    A slot in which each token may take every option keeps that; else its `top_k` stays.

    Raises:
        UsageError: An expert or gate is unknown, or the kit has no slot to change.
    """
    if not changes.experts and changes.gate is None:
        return kit
    if not kit.slots:
        raise UsageError(
            "the kit has no specialists that could be changed",
            whose=f"kit {kit.name}",
            fix="leave out --expert and --gate, or choose another kit",
        )
    for name in changes.experts:
        registry.owner("experts", name)
    if changes.gate is not None:
        registry.owner("gates", changes.gate)
    return dataclasses.replace(kit, slots=tuple(_slot(slot, changes) for slot in kit.slots))


def kit_of_run(registry: Registry, name: str, record: Mapping[str, Any]) -> KitSpec:
    """The kit as a run was made with it.

    Args:
        registry: The installed plugins.
        name: Name of the kit.
        record: The content of run.json.
    """
    return changed(registry.kit(name), KitChanges(**record["request"]["changes"]), registry)


def _slot(slot: SpecialistSlot, changes: KitChanges) -> SpecialistSlot:
    soft = slot.top_k == len(slot.experts) + 1
    experts = (*slot.experts, *changes.experts)
    return dataclasses.replace(
        slot,
        experts=experts,
        gate=changes.gate or slot.gate,
        top_k=len(experts) + 1 if soft else slot.top_k,
    )
