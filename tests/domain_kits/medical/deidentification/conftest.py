"""A folder of slices of an invented patient, and the command line."""

from __future__ import annotations

import functools

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.9.7777"
SECRETS = (
    "Invented",
    "PATIENT-77",
    "ACCESSION-77",
    "Hospital of Nowhere",
    "19500101",
    "20200102",
    "Referring",
    ROOT,
)


@pytest.fixture
def run(moekit):
    """Runs `moekit deidentify ARGUMENTS`."""
    return functools.partial(moekit, "deidentify")


def make_image(number: int) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.3.{number}"
    ds = Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    ds.FrameOfReferenceUID = f"{ROOT}.4"
    ds.PatientName, ds.PatientID = "Invented^Patient", "PATIENT-77"
    ds.PatientBirthDate, ds.StudyDate = "19500101", "20200102"
    ds.AccessionNumber, ds.InstitutionName = "ACCESSION-77", "Hospital of Nowhere"
    ds.ReferringPhysicianName = "Referring^Doctor"
    ds.Modality, ds.Manufacturer = "CT", "Maker"
    ds.InstanceNumber = number
    ds.Rows = ds.Columns = 8
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.BurnedInAnnotation = "NO"
    ds.PixelData = np.full((8, 8), number, dtype=np.uint16).tobytes()
    return ds


@pytest.fixture
def image():
    """Makes one slice; the same number gives the same bytes."""
    return make_image


@pytest.fixture
def series(tmp_path):
    """A folder with four slices in it, named after the patient, and a note."""
    folder = tmp_path / "Invented_Patient"
    for number in range(4):
        save(make_image(number), folder / "scan" / f"Invented_{number}.dcm")
    (folder / "note.txt").write_text("Invented Patient called")
    return folder


def save(dataset, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


@pytest.fixture
def write():
    """Writes a data set as a DICOM file."""
    return save


@pytest.fixture
def copies():
    """The copies in a folder, sorted by the number of the slice."""

    def read(folder):
        found = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
        return sorted(found, key=lambda ds: int(ds.InstanceNumber))

    return read


@pytest.fixture
def betrayals():
    """Which secrets stand in the names or bytes of a folder's files, or in a text."""

    def find(*things):
        data = b""
        for thing in things:
            if isinstance(thing, str):
                data += thing.encode()
                continue
            for path in thing.rglob("*"):
                data += str(path.relative_to(thing)).encode()
                data += path.read_bytes() if path.is_file() else b""
        return [secret for secret in SECRETS if secret.encode() in data]

    return find
