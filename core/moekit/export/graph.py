"""The program as an ONNX graph with a dynamic number of images.

Shapes: B images or stacks, T frames of a stack, H = W the side of the input.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moekit.errors import PluginError
from moekit.export.libraries import need
from moekit.plugins.faults import named_fault

INPUT = "images"
LICENCES = "licences"
"""The key of a graph's metadata under which the chain of licences stands."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_ONE_FILE = 1_500_000_000
_TRACED_IMAGES = 2


class GraphInput(NamedTuple):
    """What a graph takes.

    Attributes:
        shape: Of one image, the dimension of the images left out.
        images: The place of that dimension.
    """

    shape: tuple[int, ...]
    images: int

    def example(self) -> Tensor:
        """Zeros for a few images."""
        sides = list(self.shape)
        sides.insert(self.images, _TRACED_IMAGES)
        return torch.zeros(sides)


def write_onnx(
    program: nn.Module, names: Sequence[str], shape: Sequence[int], path: Path, *, whose: str
) -> list[str]:
    """As `record_onnx`, of a program of images only.

    Args:
        program: From (B, *shape) float32.
        names: As of `record_onnx`.
        shape: Of one sample: (3, H, W), or (T, 3, H, W) of a stack.
        path: As of `record_onnx`.
        whose: As of `record_onnx`.
    """
    inputs = {INPUT: GraphInput(tuple(shape), 0)}
    return record_onnx(program, names, inputs, path, whose=whose)


def record_onnx(
    program: nn.Module,
    names: Sequence[str],
    inputs: Mapping[str, GraphInput],
    path: Path,
    *,
    whose: str,
) -> list[str]:
    """Records a program and writes it as ONNX, its nodes named after the modules they come from.

    A graph above the size that protobuf allows has its weights in a second file next to it. Traces
    of the code, which name paths of the machine, are left out.

    Args:
        program: From the inputs, float32, to a tuple of tensors, or None for one there is not.
        names: What the outputs are called in the graph, in their order.
        inputs: By name, in their order.
        path: The file.
        whose: The kit, for the error.

    Returns:
        The names of the outputs there are, in their order.

    Raises:
        PluginError: The program cannot be recorded: a part of it depends on data.
        UsageError: A library is not installed.
    """
    need("onnx")
    need("onnxscript")
    examples = tuple(one.example() for one in inputs.values())
    images = torch.export.Dim("batch")
    moving = tuple({one.images: images} for one in inputs.values())
    several = any(
        one.kind is one.VAR_POSITIONAL
        for one in inspect.signature(program.forward).parameters.values()
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs: Sequence[Tensor | None] = program(*examples)
        given = [name for name, value in zip(names, outputs, strict=True) if value is not None]
        try:
            # Asked of torch.onnx alone, a number of images that the code fixes is no error.
            recorded = torch.export.export(
                program, examples, dynamic_shapes=(moving,) if several else moving
            )
            exported = torch.onnx.export(
                recorded, dynamo=True, input_names=[*inputs], output_names=given, verbose=False
            )
        except Exception as error:  # the exporter raises anything
            fault = named_fault(error)
            raise PluginError(
                f"it cannot be recorded as a graph ({_cause(error)})",
                whose=whose if fault is None else f"{whose}, {fault.whose}",
                fix="offer `export_form` on the module at fault (moekit.export.forms), or use "
                "another expert, gate or head",
                code="plugin/not-exportable",
            ) from error
    assert exported is not None
    _name_nodes(exported.model.graph)
    size = sum(tensor.nbytes for tensor in (*program.parameters(), *program.buffers()))
    exported.save(path, external_data=size > _ONE_FILE)
    return given


def name_in_onnx(path: Path, licences: str) -> None:
    """Writes the chain of licences into the metadata of a graph; its tensors stay as they are."""
    onnx = need("onnx")
    model = onnx.load(path, load_external_data=False)
    entry = model.metadata_props.add()
    entry.key, entry.value = LICENCES, licences
    onnx.save(model, path)


def _name_nodes(nodes: Iterable[Any]) -> None:
    for node in nodes:
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "['', '']"))
        module = scopes[-2] if len(scopes) > 1 else ""
        node.name = f"{module}/{node.name}"
        node.metadata_props.clear()


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
