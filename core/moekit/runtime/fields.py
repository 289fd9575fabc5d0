"""What a head returns, against the fields that its task declares."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from moekit.contract.outputs import Field
from moekit.contract.tasks import TaskSpec
from moekit.errors import PluginError
from moekit.runtime.kit import KitModules


def check_fields(outputs: Mapping[str, Tensor], task: TaskSpec, kit: KitModules) -> None:
    """Checks what a head returned against the fields of its task.

    Raises:
        PluginError: A field that the task needs is missing, or has another shape than its name.
    """
    for field in task.outputs:
        fault = form_fault(outputs.get(field.name), field, kit.classes)
        if fault:
            raise PluginError(
                f"its head gives {fault}",
                whose=f"kit {kit.name}",
                fix=f"return what the task {task.name} declares; `moekit tasks` lists it",
                code="plugin/bad-head",
            )


def form_fault(value: Tensor | None, field: Field, classes: int | None = None) -> str:
    """What a head gives in place of a field; empty if it is as declared.

    Args:
        value: What it gives; None for nothing.
        field: As the task declares it.
        classes: How many there are; None if any number will do.
    """
    name, axes = field.name, field.axes
    if value is None:
        return "" if field.optional else f"no {name}"
    if value.ndim != len(axes):
        return f"{name} with {value.ndim} dimensions in place of {len(axes)}"
    for axis, size in zip(axes, value.shape, strict=True):
        if axis == "C" and classes not in (None, size):
            return f"{name} with {size} entries for {classes} classes"
        if axis.isdigit() and size != int(axis):
            return f"{name} with {size} entries for {axis}"
    return ""
