"""The parity gate: a graph must give what the trained kit gives, item by item.

Shapes: B images or stacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from moekit.contract.outputs import Field, Outputs
from moekit.contract.tasks import TaskSpec
from moekit.errors import MoekitError
from moekit.runtime.predictor import Compute

BATCHES = (1, 1, 5, 16)
"""Sizes of the batches that are compared, one after the other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldParity:
    """How far one field of a graph is from the kit's in float32.

    If the greatest of all patches is looked for, two that are equal to rounding may change places,
    and single places of a map may differ though all numbers before are the same to 1e-6. So a field
    may be held to a small difference on average and to a larger one in each place.

    Attributes:
        field: Its name.
        greatest: Greatest absolute difference.
        mean: Greatest mean absolute difference of an item.
        tolerance: Greatest that is allowed; None for no bound.
        mean_tolerance: Likewise of the mean.
    """

    field: str
    greatest: float
    mean: float
    tolerance: float | None
    mean_tolerance: float | None

    @property
    def holds(self) -> bool:
        """Whether both are within their tolerance."""
        return _within(self.greatest, self.tolerance) and _within(self.mean, self.mean_tolerance)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity:
    """How far a graph is from the kit in float32.

    Attributes:
        n: Images compared.
        batches: How they were cut into batches.
        fields: Each field that there is.
    """

    n: int
    batches: tuple[int, ...]
    fields: tuple[FieldParity, ...]

    def as_json(self) -> dict[str, Any]:
        """For the export's record."""
        fields = {one.field: dataclasses.asdict(one) for one in self.fields}
        for facts in fields.values():
            del facts["field"]
        return {"n": self.n, "batches": list(self.batches), "fields": fields}

    def checked(self, whose: str, *, part: str = "") -> Parity:
        """The same, if all fields are within their tolerance.

        Args:
            whose: The graph, for the error.
            part: What of it was compared, in brackets; nothing for all.

        Raises:
            MoekitError: One is not.
        """
        wrong = [one for one in self.fields if not one.holds]
        if wrong:
            told = "; ".join(
                f"by {one.greatest:.2g} in {one.field} (allowed {_in_words(one.tolerance)}), by "
                f"{one.mean:.2g} on average over an item (allowed {_in_words(one.mean_tolerance)})"
                for one in wrong
            )
            raise MoekitError(
                f"the graph differs from the kit on {self.n} images{part}: {told}",
                whose=whose,
                fix="nothing was written; use torch, and report it with the versions of the "
                "libraries",
                code="error/graph-differs",
            )
        return self


def check_parity(
    images: Tensor, *, graph: Compute, kit: Compute, task: TaskSpec, whose: str
) -> Parity:
    """Compares a graph with the kit it was made from; see `measure_parity`.

    Args:
        images: (n, ...) normalised images or stacks; n of at least 1.
        graph: Computes by the graph.
        kit: Computes by the kit, in float32.
        task: Says by how much each field may differ.
        whose: The graph, for the error.

    Raises:
        MoekitError: They differ by more than the tolerance, one of them has no number, or other
            shapes.
    """
    return measure_parity(images, graph=graph, kit=kit, task=task).checked(whose)


def measure_parity(images: Tensor, *, graph: Compute, kit: Compute, task: TaskSpec) -> Parity:
    """How far a graph is from the kit it was made from; arguments as of `check_parity`."""

    def pair(batch: Tensor) -> tuple[Outputs, Outputs]:
        return _with_derived(graph(batch).kit, task), _with_derived(kit(batch).kit, task)

    return compare(images, pair, fields=(*task.outputs, *task.derived))


def compare(
    images: Tensor, pair: Callable[[Tensor], tuple[Outputs, Outputs]], *, fields: Sequence[Field]
) -> Parity:
    """How far what a graph gives is from what it should give.

    Args:
        images: (n, ...) normalised images or stacks; n of at least 1.
        pair: Computes a batch by the graph, and as it should be.
        fields: What is compared, and by how much each may differ.
    """
    batches = _cut(images)
    pairs = [pair(batch) for batch in batches]
    parts = []
    for field in fields:
        differences = [_differences(field, *pair) for pair in pairs]
        there = [one for one in differences if one is not None]
        if there:
            parts.append(_parity_of(field, there))
    return Parity(n=len(images), batches=tuple(map(len, batches)), fields=tuple(parts))


def _with_derived(outputs: Outputs, task: TaskSpec) -> Outputs:
    return {**outputs, **task.answering.derive(outputs)}


def _parity_of(field: Field, differences: Sequence[Tensor]) -> FieldParity:
    bound = None if field.tolerance == float("inf") else field.tolerance
    return FieldParity(
        field=field.name,
        greatest=max(float(one.max()) for one in differences),
        mean=max(float(one.flatten(1).mean(1).max()) for one in differences),
        tolerance=bound,
        mean_tolerance=bound if field.mean_tolerance is None else field.mean_tolerance,
    )


def _within(value: float, tolerance: float | None) -> bool:
    return value < float("inf") if tolerance is None else value <= tolerance


def _in_words(tolerance: float | None) -> str:
    return "any number" if tolerance is None else f"{tolerance:g}"


def _cut(images: Tensor) -> Sequence[Tensor]:
    sizes, left = [], len(images)
    for size in BATCHES:
        sizes.append(min(size, left))
        left -= sizes[-1]
    return [batch for batch in torch.split(images, [*sizes, left]) if len(batch)]


def _differences(field: Field, found: Outputs, wanted: Outputs) -> Tensor | None:
    """Absolute differences, float64; infinite if shapes differ or something is not a number."""
    given, expected = found.get(field.name), wanted.get(field.name)
    if given is None and expected is None:
        return None
    if given is None or expected is None or given.shape != expected.shape:
        return torch.full((1, 1), float("inf"), dtype=torch.float64)
    difference = (given.double() - expected.double()).abs().nan_to_num(nan=float("inf"))
    return difference.reshape(len(difference), -1)
