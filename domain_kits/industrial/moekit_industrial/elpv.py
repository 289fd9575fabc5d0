"""The loader `elpv`: electroluminescence images of solar cells.

2,624 cells of 44 modules, 300 x 300 pixels, 8-bit gray, each with the annotators' probability of a
defect (0, 1/3, 2/3, 1) and the make of the cell (mono or poly).

Deitsch et al. 2019, "Automatic classification of defective photovoltaic module cells in
electroluminescence images", Solar Energy 185; Buerhop-Lutz et al. 2018, "A benchmark for visual
identification of defective solar cells in electroluminescence imagery", EU PVSEC. CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from moekit import DataError, Dataset, DatasetSpec, ImageError, Sample, Skipped, split_dataset
from moekit.data import check_file
from moekit.files import read_text

PACKAGE = "elpv-dataset"
_CITATION = "Deitsch et al. 2019 and Buerhop-Lutz et al. 2018"
_NO_MODULES = "the set has no module ids, so cells of one module may lie in two splits"


def load_elpv(path: Path | None, seed: int) -> Dataset:
    """Reads the set and splits it 60/15/25 by seed, stratified by probability and make.

    A cell is defective if its probability is above 1/2; the probability is the training target.

    Args:
        path: A folder with labels.csv and images/; the installed package's if None.
        seed: Of the split.

    Raises:
        DataError: The set is not there or its labels cannot be read.
    """
    folder = _installed_folder() if path is None else path
    samples, skipped = _read_labels(folder)
    dataset = Dataset(
        name="elpv",
        samples=tuple(samples),
        classes=("functional", "defective"),
        licence="CC-BY-NC-SA-4.0",
        source=f"{_CITATION}; {_origin(path)}; {_NO_MODULES}",
        skipped=tuple(skipped),
    )
    return split_dataset(dataset, seed=seed)


def write_example(folder: Path) -> Path:
    """Writes 48 small made-up cells in the layout of the set."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    lines = []
    for number in range(48):
        name = f"images/cell{number:04}.png"
        pixels = generator.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name} {number % 2:.1f} {('mono', 'poly')[number // 2 % 2]}\n")
    (folder / "labels.csv").write_text("".join(lines), encoding="utf-8")
    return folder


ELPV = DatasetSpec(
    name="elpv",
    load=load_elpv,
    summary="2,624 solar cells in electroluminescence, functional or defective",
    takes_path="optional",
    licence="CC-BY-NC-SA-4.0",
    example=write_example,
)


def _installed_folder() -> Path:
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the solar cells are not installed",
            whose=PACKAGE,
            fix=f"pip install {PACKAGE}, or name a copy with --data elpv=PATH",
            code="data/not-installed",
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _origin(path: Path | None) -> str:
    if path is not None:
        return "a local copy"
    return f"the package {PACKAGE} {importlib.metadata.version(PACKAGE)}"


def _read_labels(folder: Path) -> tuple[list[Sample], list[Skipped]]:
    labels = folder / "labels.csv"
    try:
        lines = read_text(labels).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the labels cannot be read ({error})",
            whose=str(labels),
            fix="name a folder that holds labels.csv and images/, as the package does",
            code="data/unreadable",
        ) from error
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            sample = _read_line(line, folder, f"{labels}, line {number}")
            try:
                check_file(sample.path)
            except ImageError as error:
                skipped.append(Skipped(id=sample.id, reason=error.what))
            else:
                samples.append(sample)
    return samples, skipped


def _read_line(line: str, folder: Path, whose: str) -> Sample:
    try:
        name, text, make = line.split()
        probability = float(text)
        if not 0 <= probability <= 1:
            raise ValueError(f"the probability is {probability}")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError("the path leaves the folder")
    except ValueError as error:
        raise DataError(
            f"the line is not `path probability make` ({error})",
            whose=whose,
            fix="restore labels.csv from the data set",
            code="data/bad-line",
        ) from error
    return Sample(
        id=name,
        path=folder / name,
        label=int(probability > 0.5),
        target=probability,
        subtype=make,
    )
