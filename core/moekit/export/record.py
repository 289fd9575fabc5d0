"""The folder of an export, and what its record says.

```
RUN/export/openvino/
  model.xml, model.bin   the graph (of ONNX: model.onnx)
  prefix.xml, prefix.bin of a split export the blocks that kits share; the graph reads its tokens
  validation.csv         tallies of the validation split by this graph, for its point
  export.json            the record: weights, preprocessing, parity, accuracy, versions
```
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.data.windows import Tiling
from moekit.errors import DataError, UsageError, WeightsError
from moekit.export.predictor import ExportPrecision
from moekit.export.sessions import Format
from moekit.files import atomic_text, sha256
from moekit.licences import Licences, lines_of, read_links, remarks_on
from moekit.outputs import EXPORT, check_vacant
from moekit.runs.choices import SPECIALIST, Model
from moekit.runs.run import Run
from moekit.sealed import read_sealed, unsealed_note
from moekit.text import first_line, visible_name

_logger = logging.getLogger(__name__)
SCHEMA = 1
RECORD = "export.json"
CARD = "licences.txt"
"""Names the licences of what an export was made from, for whoever is handed its folder."""
BACKENDS = {
    "onnx": "--format onnx",
    "openvino": "--format openvino",
    "openvino-int8": "--format openvino --int8",
    "onnx-split": "--format onnx --split",
    "openvino-split": "--format openvino --split",
    "openvino-int8-split": "--format openvino --int8 --split",
}
"""What exports are called, with the options that make them; also their folders in RUN/export."""


class PreprocessRecord(pydantic.BaseModel):
    """How the graph's input is made: see `moekit.data.stream.Preprocess`.

    Exports of squares may say `size` in place of the frame.
    """

    size: int | None = pydantic.Field(default=None, gt=0)
    frame: Frame | None = None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    frames: int = pydantic.Field(ge=1)
    tiling: Tiling | None = None
    bits: int | None = pydantic.Field(default=None, ge=8, le=16)


class PrefixRecord(pydantic.BaseModel):
    """The graph of the blocks that exports share, and what decides whether a kit can use it.

    Attributes:
        sha256: See `graph_sha256`.
        model: The file of the graph.
        files: All its files.
        precision: Its arithmetic.
        computes: Name of what the backbone computes; see `MoEBackbone.computes_at`.
        shape: Of one sample, without its other views.
        blocks: How many blocks it runs.
        outputs: Names of the tokens that it gives; see `moekit.export.split.programs`.
        top_k: Generic experts a token has.
        tokens: Which tokens are computed, as of `TokenRouting.as_json`; None for all.
        calibration: Of int8 the images that it was calibrated on.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    sha256: str
    model: str
    files: tuple[str, ...]
    precision: ExportPrecision
    computes: str
    shape: tuple[int, ...]
    blocks: int = pydantic.Field(ge=1)
    outputs: tuple[str, ...]
    top_k: int
    tokens: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None


class SplitRecord(pydantic.BaseModel):
    """How the two graphs of a split export belong together.

    Attributes:
        prefix: The first one.
        inputs: What the kit's own graph takes, in order.
        views: The numbers of the views whose tokens it takes.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    prefix: PrefixRecord
    inputs: tuple[str, ...]
    views: tuple[int, ...]


class ExportRecord(pydantic.BaseModel):
    """What is needed of export.json to use an export; it holds more, for readers."""

    model_config = pydantic.ConfigDict(frozen=True)

    schema_: Literal[1] = pydantic.Field(alias="schema")
    format: Format
    precision: ExportPrecision
    kit: str
    kit_sha256: str
    backbone_sha256: str
    computes: str
    preprocess: PreprocessRecord
    kinds: tuple[str, ...] = ()
    baseline_sha256: str | None = None
    use: Model = SPECIALIST
    model: str
    files: dict[str, str]
    licences: Licences | None = None
    split: SplitRecord | None = None

    @property
    def graph_sha256(self) -> str:
        """See `graph_sha256`; of a split export the kit's own graph."""
        stem = f"{Path(self.model).stem}."
        return graph_sha256(self.files, [name for name in self.files if name.startswith(stem)])


@dataclasses.dataclass(frozen=True)
class Export:
    """An export that was checked.

    Attributes:
        folder: Where it lies.
        record: Its record.
    """

    folder: Path
    record: ExportRecord

    @property
    def model(self) -> Path:
        """The file of the graph."""
        return self.folder / self.record.model

    @property
    def preprocess(self) -> Preprocess:
        """How images are read."""
        read = self.record.preprocess
        return Preprocess(
            frame=read.frame,
            size=read.size,
            mean=read.mean,
            std=read.std,
            frames=read.frames,
            tiling=read.tiling,
            bits=read.bits,
        )


def write_card(folder: Path, licences: Mapping[str, Any]) -> str:
    """Writes the chain of licences next to an export; returns it as text.

    Raises:
        StorageError: It cannot be written.
    """
    parts = read_links({"licences": licences}) or ()
    text = "\n".join(filter(None, [*lines_of(parts), remarks_on(parts)]))
    with atomic_text(folder / CARD) as file:
        file.write(text + "\n")
    return text


def check_replaceable(folder: Path) -> None:
    """Refuses a folder for an export that holds anything but nothing or an export.

    Raises:
        UsageError: It holds other things, next to an export or without one.
    """
    check_vacant(folder, EXPORT)
    if not (folder / RECORD).is_file():
        return
    try:
        own = {RECORD, *_read(folder).files}
    except DataError:
        own = {RECORD}
    others = sorted({path.name for path in folder.iterdir()} - own)
    if others := [name for name in others if not name.startswith(".")]:
        raise UsageError(
            f"the folder holds {len(others)} files that are not of the export in it, such as "
            f"{visible_name(others[0])}",
            whose=str(folder),
            fix="choose a new or an empty folder: that of an export is replaced as a whole",
            code="usage/foreign-folder",
        )


def weights_of(record: Mapping[str, Any]) -> dict[str, str | None]:
    """The hashes that tie an export to a run, from the run's record."""
    request = record["request"]
    backbone: str = request["backbone_sha256"]
    return {
        "kit_sha256": record["weights"]["kit_sha256"],
        "baseline_sha256": record["weights"].get("baseline_sha256"),
        "backbone_sha256": backbone,
        "computes": request.get("computes", backbone),
    }


def open_export(run: Run, backend: str) -> Export:
    """Finds and checks an export of a run.

    Args:
        run: The run.
        backend: A name in `BACKENDS`, or the folder of an export.

    Raises:
        DataError: There is no such export, or its record is damaged.
        WeightsError: It was made from other weights than the run's, or a file is damaged.
    """
    folder = run.folder / "export" / backend if backend in BACKENDS else Path(backend)
    if not (folder / RECORD).is_file():
        flags = BACKENDS.get(backend, BACKENDS["openvino"])
        raise DataError(
            "there is no such export of the run",
            whose=str(folder),
            fix=f"make it: moekit export KIT --run {run.folder} --data D {flags}; or name one of "
            f"{', '.join(BACKENDS)}, or the folder of an export",
            code="data/no-export",
        )
    export = open_folder(folder)
    wanted = weights_of(run.read_finished())
    if export.record.baseline_sha256 is None:
        wanted.pop("baseline_sha256")  # an earlier version did not say it
    if any(getattr(export.record, name) != value for name, value in wanted.items()):
        raise WeightsError(
            "the export was made from other weights than the run's",
            whose=str(folder),
            fix="make it again: moekit export KIT --run RUN --data D, or name the run it is of",
            code="weights/other-weights",
        )
    return export


def open_folder(folder: Path) -> Export:
    """Checks the files of an export, of whichever run it is.

    Raises:
        DataError: Its record is damaged.
        WeightsError: A file is damaged.
    """
    record = _read(folder)
    for name, expected in record.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file() or sha256(path) != expected:
            raise WeightsError(
                "the file is missing, or its SHA-256 is not the one in export.json",
                whose=str(path),
                fix="make the export again",
                code="weights/wrong-hash",
            )
    return Export(folder, record)


def graph_sha256(files: Mapping[str, str], names: Iterable[str]) -> str:
    """By what a graph is known: the SHA-256 of a line `NAME SHA256` for each of its files.

    They hold all that it computes: weights, the size of images, the blocks and, in int8, what
    calibration found. Graphs of one hash are one.

    Args:
        files: SHA-256 of the files of an export, by name.
        names: Those of the graph.
    """
    text = "".join(f"{name} {files[name]}\n" for name in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()


def _read(folder: Path) -> ExportRecord:
    path = folder / RECORD
    try:
        content = read_sealed(path)
        record = ExportRecord.model_validate(content)
        prefix = None if record.split is None else record.split.prefix
        named = {record.model, *(() if prefix is None else (prefix.model, *prefix.files))}
        if not named <= record.files.keys():
            raise ValueError("it does not name the files of an export")
        if prefix is not None and prefix.sha256 != graph_sha256(record.files, prefix.files):
            raise ValueError("the hash of its prefix is not that of the prefix's files")
    except ValueError as error:
        raise DataError(
            f"the record is damaged or of another version ({first_line(error)})",
            whose=str(path),
            fix="make the export again with this version of moekit",
            code="data/damaged-run",
        ) from error
    for note in unsealed_note(content, RECORD):
        _logger.warning("%s: %s", folder, note)
    return record
