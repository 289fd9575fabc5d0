"""Eight small CT slices of an invented patient, and their volume."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from moekit_medical.volume import Volume

SPACING = (2.5, 0.5, 0.75)
ORIGIN = (-10.0, -20.0, 100.0)
ROOT = "1.2.826.0.1.3680043.8.498"


def make_slice(index: int) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.3.{index + 1}"
    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyDate, ds.StudyTime = "20200102", "030405"
    ds.ContentDate, ds.ContentTime = "20200102", "030507"
    ds.AccessionNumber, ds.StudyID = "ACC1", "STUDY1"
    ds.Modality, ds.Manufacturer = "CT", "Maker"
    ds.ReferringPhysicianName = "Referring^Doctor"
    ds.PatientName, ds.PatientID = "Invented^Patient", "ID1"
    ds.PatientBirthDate, ds.PatientSex = "19500101", "F"
    ds.InstitutionName = "Invented Hospital"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = f"{ROOT}.4", ""
    ds.SeriesNumber, ds.InstanceNumber = 1, index + 1
    ds.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + index * SPACING[0]]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [SPACING[1], SPACING[2]], SPACING[0]
    ds.KVP = "120"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = 16, 16
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    pixels = np.random.default_rng(index).integers(0, 2000, (16, 16), dtype=np.uint16)
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


@pytest.fixture
def slices() -> list[Dataset]:
    """Eight axial slices of 16 x 16 pixels, from the feet up."""
    return [make_slice(index) for index in range(8)]


@pytest.fixture
def volume(slices: list[Dataset]) -> Volume:
    return volume_of(slices)


@pytest.fixture
def mask_DHW() -> np.ndarray:
    """A mask that leaves the first and the last slices empty."""
    mask = np.zeros((8, 16, 16), dtype=bool)
    mask[2:5, 3:9, 5:8] = True
    mask[3, 12, 15] = True
    return mask


def volume_of(slices: list[pydicom.Dataset]) -> Volume:
    affine = np.array(
        [
            [0, 0, SPACING[2], ORIGIN[0]],
            [0, SPACING[1], 0, ORIGIN[1]],
            [SPACING[0], 0, 0, ORIGIN[2]],
            [0, 0, 0, 1],
        ],
        dtype=np.float64,
    )
    hu = np.stack([ds.pixel_array.astype(np.float32) - 1024 for ds in slices])
    return Volume(
        hu_DHW=hu,
        affine=affine,
        series_uid=slices[0].SeriesInstanceUID,
        study_uid=slices[0].StudyInstanceUID,
        frame_of_reference_uid=slices[0].FrameOfReferenceUID,
        sop_uids=tuple(ds.SOPInstanceUID for ds in slices),
    )
