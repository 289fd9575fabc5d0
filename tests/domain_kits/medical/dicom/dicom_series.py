"""A small synthetic CT series, and the record of what may be done to one.

A mutation changes the files of a folder in which `write_series` wrote the series.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
)

SLICES, ROWS, COLUMNS = 8, 16, 18
STEP_MM, ROW_MM, COLUMN_MM = 2.5, 0.8, 0.7
ORIGIN = (-100.0, -50.0, 30.0)
ROOT = "1.2.826.0.1.3680043.8.498."
PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN-4711",
    "PatientBirthDate": "19410203",
    "AccessionNumber": "ACC-0815",
    "InstitutionName": "General Hospital",
}

TRUTH_DHW = (
    10 * np.arange(SLICES)[:, None, None]
    + 3 * np.arange(ROWS)[None, :, None]
    - 2 * np.arange(COLUMNS)[None, None, :]
).astype(np.float32)
"""HU, linear in each index, so that what is interpolated from neighbours is exact."""


def make_slice(index: int, *, series: str = "1", hu_HW: np.ndarray | None = None) -> FileDataset:
    """One slice of the series: unsigned 16-bit values, intercept -1024."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}{series}.{index + 1}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = f"{ROOT}{series}"
    dataset.StudyInstanceUID = f"{ROOT}9"
    dataset.FrameOfReferenceUID = f"{ROOT}8"
    dataset.update(PATIENT)
    dataset.PatientSex, dataset.PatientAge = "F", "083Y"
    dataset.Manufacturer, dataset.KVP = "Maker", "120"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [*ORIGIN[:2], ORIGIN[2] + index * STEP_MM]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [ROW_MM, COLUMN_MM]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    set_values(dataset, (TRUTH_DHW[index % SLICES] if hu_HW is None else hu_HW) + 1024)
    return dataset


def set_values(dataset: Dataset, values: np.ndarray, *, bits: int = 16, signed: bool = False):
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def write_series(folder: Path, **options) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(SLICES):
        save(make_slice(index, **options), file_of(folder, index))


def save(dataset: FileDataset, path: Path) -> None:
    dataset.save_as(path, enforce_file_format=False)


def file_of(folder: Path, index: int) -> Path:
    return folder / f"slice{index}.dcm"


def edit(folder: Path, change: Callable[[FileDataset, int], None], only=range(SLICES)) -> None:
    for index in only:
        dataset = pydicom.dcmread(file_of(folder, index))
        change(dataset, index)
        save(dataset, file_of(folder, index))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutation:
    """A row of the table.

    Attributes:
        name: What is done to the series.
        apply: Does it.
        verdict: How many series must be (ok, repaired, refused).
        says: Words of the repair, refusal or ignored file that must be there.
        exact: Whether the first volume must hold `TRUTH_DHW`.
    """

    name: str
    apply: Callable[[Path], None]
    verdict: tuple[int, int, int]
    says: str = ""
    exact: bool = False


MUTATIONS: list[Mutation] = []


def mutation(verdict: tuple[int, int, int], says: str = "", *, exact: bool = False):
    def add(function: Callable[[Path], None]) -> Callable[[Path], None]:
        name = function.__name__.strip("_").replace("_", " ")
        row = Mutation(name=name, apply=function, verdict=verdict, says=says, exact=exact)
        MUTATIONS.append(row)
        return function

    return add


OK, REPAIRED, REFUSED = (1, 0, 0), (0, 1, 0), (0, 0, 1)
