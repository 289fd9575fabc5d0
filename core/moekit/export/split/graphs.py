"""The two graphs of a split export while it is made.

In int8 the prefix is quantised first, and the kit's own graph by the tokens that the quantised
prefix gives. So whichever prefix a kit goes on from, its own or that of another export, its ranges
are those that it meets.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moekit.contract.outputs import Field, Outputs
from moekit.data.stream import Preprocess
from moekit.data.views import view
from moekit.export.graph import INPUT, GraphInput, record_onnx, write_onnx
from moekit.export.graphs import GraphFile, OnProgress, is_sparse
from moekit.export.parity import Parity, compare, measure_parity
from moekit.export.predictor import ExportPrecision
from moekit.export.program import KitProgram
from moekit.export.record import PrefixRecord, SplitRecord, graph_sha256
from moekit.export.sessions import Format
from moekit.export.split.given import open_given
from moekit.export.split.opening import open_prefix
from moekit.export.split.predictor import Prefix, SplitPredictor, by_session, own_inputs
from moekit.export.split.programs import (
    OwnProgram,
    PrefixProgram,
    models_of,
    tokens_in_torch,
    tokens_read,
)
from moekit.files import sha256
from moekit.moe.specialists import Grid
from moekit.runtime.predictor import Predictor

TOLERANCE = 1e-4
"""Of the tokens of a prefix, as a share of the largest number among them."""


class SplitGraphs:
    """A prefix of the backbone, and a graph of a kit's own; see `moekit.export.graphs.Graphs`.

    Args:
        predictor: The run's kit in float32 on the CPU.
        preprocess: How its images are read.
        format_: onnx or openvino.
        int8: Whether they are to be quantised.
        kit: Full name of the kit, for errors.
        out: The folder of the export, for errors.
        computes: What the backbone computes, by its name.
        calibration: Of int8 what is said of the images that a prefix is calibrated on.
        prefix: Folder of an export whose prefix is used; None for one of its own.

    Raises:
        DataError: There is no export in the folder, or its record is damaged.
        UsageError: Its prefix does not fit the kit.
        WeightsError: A file of it is damaged.
    """

    def __init__(
        self,
        predictor: Predictor,
        preprocess: Preprocess,
        *,
        format_: Format,
        int8: bool,
        kit: str,
        out: Path,
        computes: str,
        calibration: Mapping[str, Any] | None = None,
        prefix: Path | None = None,
    ) -> None:
        self._predictor, self._shape = predictor, preprocess.shape
        self._format: Format = format_
        self._precision: ExportPrecision = "int8" if int8 else "fp32"
        self._kit, self._out, self._computes = kit, out, computes
        self._calibration = calibration
        self._given = None
        if prefix is not None:
            self._given = open_given(
                prefix,
                predictor,
                format_=format_,
                precision=self._precision,
                computes=computes,
                shape=self._shape,
            )
        self._blocks = self._given[1].blocks if self._given else predictor.kit.trunk_end
        self._names = tokens_read(models_of(predictor), self._blocks)

    def write(self, folder: Path) -> list[str]:
        """See `Graphs`."""
        self._folder = folder
        if self._given and self._precision == "fp32":
            self._first = open_prefix(self._given[0])
        else:
            program = PrefixProgram(self._program(), self._blocks, self._names)
            path = folder / "prefix.onnx"
            write_onnx(program, self._names, self._shape, path, whose=self._kit)
            self._prefix = GraphFile(path, self._format)
            self._first = by_session(self._prefix.session)
        whole, path = self._program(), folder / "model.onnx"
        names = [field.short for field in whole.fields]
        frames, patch = self._frames, self._predictor.backbone.patch
        grid = Grid(self._shape[-2] // patch, self._shape[-1] // patch, frames)
        own = OwnProgram(whole, self._blocks, self._names, grid)
        self._inputs = own.inputs
        backbone = self._predictor.backbone
        count = backbone.prefix_tokens + grid.rows * grid.columns
        of_tokens = GraphInput((len(whole.views), frames, count, backbone.width), 1)
        inputs = dict.fromkeys(self._names, of_tokens)
        if INPUT in own.inputs:
            inputs[INPUT] = GraphInput(self._shape, 0)
        outputs = record_onnx(own, names, inputs, path, whose=self._kit)
        self._own = GraphFile(path, self._format)
        return outputs

    def compute(self, precision: ExportPrecision) -> SplitPredictor:
        """See `Graphs`."""
        return self._by(self._first, precision)

    def parity(self, images: Tensor) -> dict[str, Any]:
        """See `Graphs`; of both parts too, each from what torch gives it."""
        whole, out = self._whole(images), str(self._out)
        parts = self._parts(images)
        parts["prefix"].checked(out, part=" (its prefix, in shares of the largest number)")
        parts["own"].checked(out, part=" (of the kit's own)")
        return {**whole.checked(out).as_json(), "parts": _as_json(parts)}

    def quantise(self, images: Sequence[np.ndarray], *, on_progress: OnProgress) -> None:
        """See `Graphs`."""
        sparse = is_sparse(self._predictor)
        if self._given:
            self._first = open_prefix(self._given[0])
        else:
            self._prefix = self._prefix.quantised(images, sparse=sparse, on_progress=on_progress)
            self._first = by_session(self._prefix.session)
        last = max(block for model in models_of(self._predictor) for block in model.reads)
        if last >= self._blocks:  # else there is nothing but what stays in float32
            self._own = self._own.quantised(
                images, sparse=sparse, feed=self._fed, on_progress=on_progress
            )

    def drift(self, images: Tensor) -> dict[str, Any]:
        """How far the parts and the whole are from the kit in float32, as `parity` tells it."""
        return {"drift": {**self._whole(images).as_json(), "parts": _as_json(self._parts(images))}}

    def save(self, licences: str) -> dict[str, Any]:
        """See `Graphs`."""
        folder = self._folder
        if self._given:
            export, prefix = self._given
            for path in folder.glob("prefix.*"):
                path.unlink()
            for name in prefix.files:
                shutil.copyfile(export.folder / name, folder / name)
        else:
            prefix = self._saved()
        split = SplitRecord(prefix=prefix, inputs=self._inputs, views=self._predictor.views)
        return {"model": self._own.save(licences), "split": split.model_dump()}

    @property
    def _frames(self) -> int:
        return self._shape[0] if len(self._shape) == 4 else 1

    def _program(self) -> KitProgram:
        return KitProgram.of(self._predictor, self._shape)

    def _by(self, prefix: Prefix, precision: ExportPrecision) -> SplitPredictor:
        return SplitPredictor(
            prefix,
            self._own.session,
            inputs=self._inputs,
            views=self._predictor.views,
            task=self._predictor.task,
            precision=precision,
        )

    def _whole(self, images: Tensor) -> Parity:
        kit = self._predictor
        return measure_parity(images, graph=self.compute("fp32"), kit=kit, task=kit.task)

    def _parts(self, images: Tensor) -> dict[str, Parity]:
        """Of the prefix its tokens as shares of their largest number; of the kit's own its outputs.

        The second gets the tokens of torch.
        """
        kit, names = self._predictor, self._names

        def wanted(batch: Tensor) -> dict[str, Tensor]:
            return tokens_in_torch(kit, batch, self._blocks, names)

        def pair(batch: Tensor) -> tuple[Outputs, Outputs]:
            right, graph = wanted(batch), self._first(batch)
            found = {name: torch.from_numpy(graph[name]) for name in names}
            return _shares(found, right), _shares(right, right)

        own = self._by(
            lambda batch: {name: one.numpy() for name, one in wanted(batch).items()}, "fp32"
        )
        fields = [Field(name=name, summary="tokens", tolerance=TOLERANCE) for name in names]
        return {
            "prefix": compare(images, pair, fields=fields),
            "own": measure_parity(images, graph=own, kit=kit, task=kit.task),
        }

    def _fed(self, image: np.ndarray) -> list[np.ndarray]:
        """The inputs of the kit's own graph, by the prefix as it is."""
        images = torch.from_numpy(image)
        views = [
            self._first(view(images, number) if number else images)
            for number in self._predictor.views
        ]
        return own_inputs(self._inputs, views, images)

    def _saved(self) -> PrefixRecord:
        """Writes the prefix; nothing in its files is of one kit, so that those of two are equal."""
        model = self._prefix.save(None)
        files = {path.name: sha256(path) for path in sorted(self._folder.glob("prefix.*"))}
        tokens = self._predictor.tokens
        return PrefixRecord(
            sha256=graph_sha256(files, files),
            model=model,
            files=tuple(files),
            precision=self._precision,
            computes=self._computes,
            shape=self._shape,
            blocks=self._blocks,
            outputs=self._names,
            top_k=self._predictor.top_k,
            tokens=None if tokens is None else tokens.as_json(),
            calibration=None if self._calibration is None else dict(self._calibration),
        )


@torch.inference_mode()
def _shares(tokens: Mapping[str, Tensor], of: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tokens as shares of the largest number of others of their name."""
    return {name: value / of[name].abs().max() for name, value in tokens.items()}


def _as_json(parts: Mapping[str, Parity]) -> dict[str, Any]:
    return {name: one.as_json() for name, one in parts.items()}
