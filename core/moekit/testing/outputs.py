"""What checks of kits and tasks ask of a head's outputs.

Shapes: B images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moekit.contract.outputs import Outputs
from moekit.contract.tasks import TaskSpec
from moekit.runtime.fields import form_fault
from moekit.runtime.kit import KitModules
from moekit.runtime.runtime import Runtime
from moekit.testing.verdicts import require

TOLERANCE = 1e-5


def outputs_of(
    runtime: Runtime, modules: KitModules, images: Tensor, targets: Outputs | None = None
) -> Outputs:
    """What a kit's head returns for normalised images, with gradients."""
    backbone = runtime.backbone
    x_BND, grid = backbone.embed(images)
    x_BND, kept = backbone.run_blocks(
        x_BND, grid, stop=modules.prefix_end, keep=modules.prefix_keep
    )
    outputs: Outputs = modules(backbone, x_BND, kept, grid, picture=images, targets=targets)
    return outputs


def require_fields(outputs: Outputs, task: TaskSpec, items: int) -> None:
    """Every field that the task declares is there, of the right form, finite and in its bounds."""
    declared = {field.name: field for field in task.outputs}
    unknown = set(outputs) - set(declared)
    require(not unknown, f"the task declares no {', '.join(sorted(unknown))}")
    for name, field in declared.items():
        fault = form_fault(outputs.get(name), field)
        require(not fault, f"the head gives {fault}")
        if name not in outputs:
            continue
        value = outputs[name]
        require(len(value) == items, f"{name} has {len(value)} rows for {items} images")
        require(bool(value.isfinite().all()), f"{name} is not finite")
        if field.bounds is not None:
            low, high = field.bounds
            inside = bool(((value >= low) & (value <= high)).all())
            require(inside, f"{name} leaves [{low:g}, {high:g}]")


def require_same(together: Outputs, alone: list[Outputs]) -> None:
    """Outputs of a batch are those of its items, each alone."""
    for name, value in together.items():
        single = torch.cat([one[name] for one in alone])
        close = torch.allclose(value.double(), single.double(), atol=TOLERANCE)
        gap = float((value.double() - single.double()).abs().max())
        require(close, f"{name} differs by {gap:.3g}")


def energy(outputs: Outputs) -> Tensor:
    """A number that depends on every output, to send gradients back from."""
    floats = [value for value in outputs.values() if value.is_floating_point()]
    return torch.stack([value.square().sum() for value in floats if value.requires_grad]).sum()
