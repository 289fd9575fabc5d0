"""Graphs loaded into a runtime, ready to compute.

Shapes: B images or stacks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from moekit.export.libraries import need

Session = Callable[..., dict[str, np.ndarray]]
"""A graph's inputs in their order, float32, to its outputs by their names. Of a kit's whole graph
the only input is normalised images (B, 3, H, W) or stacks."""


Format = Literal["onnx", "openvino"]


def open_session(model: Any, *, format_: Format, threads: int) -> Session:
    """A graph in the runtime of its format; see `onnx_session` and `openvino_session`."""
    opened = onnx_session if format_ == "onnx" else openvino_session
    return opened(model, threads=threads)


def onnx_session(path: Path, *, threads: int) -> Session:
    """An ONNX graph in ONNX Runtime, on the CPU.

    Args:
        path: The file.
        threads: That one call uses.

    Raises:
        UsageError: ONNX Runtime is not installed.
    """
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    inputs = [given.name for given in session.get_inputs()]

    def call(*given: np.ndarray) -> dict[str, np.ndarray]:
        found = session.run(names, dict(zip(inputs, given, strict=True)))
        return dict(zip(names, found, strict=True))

    return call


def openvino_model(path: Path) -> Any:
    """An ONNX graph as an `openvino.Model`, with what depends only on weights computed.

    Raises:
        UsageError: OpenVINO is not installed.
    """
    openvino, passes = need("openvino"), need("openvino.passes")
    model = openvino.Core().read_model(path)
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    return model


def openvino_session(model: Any, *, threads: int) -> Session:
    """A graph in OpenVINO, on the CPU; what is not quantised is computed in float32.

    Args:
        model: An `openvino.Model`, or the path of its XML or ONNX file.
        threads: That one call uses.

    Raises:
        UsageError: OpenVINO is not installed.
    """
    openvino = need("openvino")
    if isinstance(model, Path):
        model = openvino.Core().read_model(model)
    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    names = [output.get_any_name() for output in compiled.outputs]

    def call(*given: np.ndarray) -> dict[str, np.ndarray]:
        # Nothing else holds the request, and outputs are copied: the runtime need not copy as well.
        arrays = [np.ascontiguousarray(one) for one in given]
        outputs = compiled(arrays, share_inputs=True, share_outputs=True)
        return {name: np.array(outputs[place]) for place, name in enumerate(names)}

    return call
