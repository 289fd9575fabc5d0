"""The graphs of an export while it is made: recorded, compared with the kit, quantised, written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from moekit.data.stream import Preprocess
from moekit.export.graph import name_in_onnx, write_onnx
from moekit.export.libraries import need
from moekit.export.parity import check_parity
from moekit.export.predictor import ExportedPredictor, ExportPrecision
from moekit.export.program import KitProgram
from moekit.export.quantise import quantise
from moekit.export.sessions import Format, Session, open_session, openvino_model
from moekit.runtime.predictor import Compute, Predictor

OnProgress = Callable[[str, int, int], None]


class GraphFile:
    """One graph, at first as ONNX.

    Args:
        path: The ONNX file; it is replaced when another format is saved.
        format_: What it becomes.
        model: The graph as the format has it, if that is known.
    """

    def __init__(self, path: Path, format_: Format, model: Any = None) -> None:
        self._path, self._format = path, format_
        if model is None:
            model = openvino_model(path) if format_ == "openvino" else path
        self._model = model

    @functools.cached_property
    def session(self) -> Session:
        """The graph, ready to compute on as many threads as torch has."""
        return open_session(self._model, format_=self._format, threads=torch.get_num_threads())

    def quantised(self, images: Sequence[np.ndarray], **how: Any) -> GraphFile:
        """The graph in int8; `how` is for `quantise`."""
        return GraphFile(self._path, self._format, quantise(self._model, images, **how))

    def save(self, licences: str | None) -> str:
        """Writes it in its format; returns the name of the file.

        Args:
            licences: The chain of licences, which is written into it if one is given.
        """
        if self._format == "onnx":
            if licences is not None:
                name_in_onnx(self._path, licences)
            return self._path.name
        if licences is not None:
            self._model.set_rt_info(licences, ["moekit", "licences"])
        _number_nodes(self._model)
        target = self._path.with_suffix(".xml")
        # Weights are kept in float32: rounded to float16 they would be other weights.
        need("openvino").save_model(self._model, target, compress_to_fp16=False)
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink()
        return target.name


def _number_nodes(model: Any) -> None:
    """Names the nodes that come from no module by their order: equal graphs have equal files.

    OpenVINO numbers such nodes, and constants, on through a process.
    """
    for number, node in enumerate(model.get_ordered_ops()):
        kind = node.get_type_name()
        named = "/" in node.get_friendly_name() or kind in ("Parameter", "Result")
        if kind == "Constant" or not named:
            node.set_friendly_name(f"{kind}_{number}")


class Graphs(Protocol):
    """What `export` asks of the graphs that it makes."""

    def write(self, folder: Path) -> list[str]:
        """Records them in float32; returns the names of the outputs.

        Raises:
            PluginError: A part of the kit cannot be recorded.
        """
        ...

    def compute(self, precision: ExportPrecision) -> Compute:
        """Computes by them."""
        ...

    def parity(self, images: Tensor) -> dict[str, Any]:
        """How far they are from the kit in float32, for the record.

        Raises:
            MoekitError: Beyond the tolerance.
        """
        ...

    def quantise(self, images: Sequence[np.ndarray], *, on_progress: OnProgress) -> None:
        """Makes them int8, from calibration images (1, ...) each."""
        ...

    def drift(self, images: Tensor) -> dict[str, Any]:
        """What the record says of the quantised graphs next to accuracy and speed."""
        ...

    def save(self, licences: str) -> dict[str, Any]:
        """Writes them in their format; returns what the record says of the files."""
        ...


class WholeGraph:
    """One graph from images to outputs.

    Args:
        predictor: The run's kit in float32 on the CPU.
        preprocess: How its images are read.
        format_: onnx or openvino.
        kit: Full name of the kit, for errors.
        out: The folder of the export, for errors.
    """

    def __init__(
        self, predictor: Predictor, preprocess: Preprocess, *, format_: Format, kit: str, out: Path
    ) -> None:
        self._predictor, self._preprocess = predictor, preprocess
        self._format: Format = format_
        self._kit, self._out = kit, out

    def write(self, folder: Path) -> list[str]:
        """See `Graphs`."""
        path, shape = folder / "model.onnx", self._preprocess.shape
        program = KitProgram.of(self._predictor, shape)
        names = [field.short for field in program.fields]
        outputs = write_onnx(program, names, shape, path, whose=self._kit)
        self._graph = GraphFile(path, self._format)
        return outputs

    def compute(self, precision: ExportPrecision) -> Compute:
        """See `Graphs`."""
        task = self._predictor.task
        return ExportedPredictor(self._graph.session, task=task, precision=precision)

    def parity(self, images: Tensor) -> dict[str, Any]:
        """See `Graphs`."""
        kit = self._predictor
        found = check_parity(
            images, graph=self.compute("fp32"), kit=kit, task=kit.task, whose=str(self._out)
        )
        return found.as_json()

    def quantise(self, images: Sequence[np.ndarray], *, on_progress: OnProgress) -> None:
        """See `Graphs`."""
        sparse = is_sparse(self._predictor)
        self._graph = self._graph.quantised(images, sparse=sparse, on_progress=on_progress)

    def drift(self, images: Tensor) -> dict[str, Any]:
        """Nothing."""
        del images
        return {}

    def save(self, licences: str) -> dict[str, Any]:
        """See `Graphs`."""
        return {"model": self._graph.save(licences)}


def is_sparse(predictor: Predictor) -> bool:
    """Whether tokens have fewer generic experts than there are."""
    return predictor.top_k < predictor.backbone.experts
