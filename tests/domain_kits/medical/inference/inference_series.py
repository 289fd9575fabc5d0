"""A thorax made of formulas: as a volume, and as DICOM files of an invented patient."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from moekit_medical.volume import Volume

ROOT = "1.2.826.0.1.3680043.8.498."
PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN-4711",
    "PatientBirthDate": "19410203",
    "AccessionNumber": "ACC-0815",
    "InstitutionName": "General Hospital",
    "ReferringPhysicianName": "Refers^Robert",
    "OtherPatientIDs": "OTHER-99",
}
HALF_WIDTH_MM, HALF_DEPTH_MM = 140.0, 100.0
LUNG_X_MM, LUNG_SEMI_MM = 65.0, (50.0, 70.0)
LENGTH_MM = 90.0
NODULE_MM, NODULE_DIAMETER_MM = (-71.3, 12.7, -3.1), 12.0
WALL_NODULE_MM = (65.0, -68.0, 8.0)
"""In the left lung, centred just inside the pleura at the front."""

VESSEL_XY_MM, VESSEL_RADIUS_MM = (55.0, 30.0), 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thorax:
    """What to draw."""

    step_mm: float = 3.0
    pixel_mm: float = 1.5
    lungs: bool = True
    nodules_mm: tuple[tuple[float, float, float], ...] = (NODULE_MM,)
    diameter_mm: float = NODULE_DIAMETER_MM
    half_picture_mm: tuple[float, float] = (160.0, 125.0)
    foam: bool = False
    seed: int = 0


@functools.lru_cache(maxsize=8)
def draw(thorax: Thorax) -> Volume:
    """Body at 40 HU, lungs at -850 HU, nodules and a vessel at 50 HU, noise of 15 HU.

    Drawn once, so nobody may change it.
    """
    half_x, half_y = thorax.half_picture_mm
    x_W = np.arange(-half_x, half_x, thorax.pixel_mm)
    y_H = np.arange(-half_y, half_y, thorax.pixel_mm)
    z_D = np.arange(-LENGTH_MM / 2, LENGTH_MM / 2, thorax.step_mm)
    z, y, x = (axis.astype(np.float32) for axis in np.meshgrid(z_D, y_H, x_W, indexing="ij"))
    hu = np.full(z.shape, -1000, dtype=np.float32)
    if thorax.foam:
        hu[(y > 105) & (y < 122)] = -900
    hu[(x / HALF_WIDTH_MM) ** 2 + (y / HALF_DEPTH_MM) ** 2 <= 1] = 40
    if thorax.lungs:
        semi_x, semi_y = LUNG_SEMI_MM
        for side in (-1, 1):
            hu[((x - side * LUNG_X_MM) / semi_x) ** 2 + (y / semi_y) ** 2 <= 1] = -850
        for centre in thorax.nodules_mm:
            away = np.sqrt(sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True)))
            share = np.clip((thorax.diameter_mm / 2 - away) / thorax.pixel_mm + 0.5, 0, 1)
            hu += share * np.maximum(50 - hu, 0)
        away = np.hypot(x - VESSEL_XY_MM[0], y - VESSEL_XY_MM[1])
        share = np.clip((VESSEL_RADIUS_MM - away) / thorax.pixel_mm + 0.5, 0, 1)
        hu += share * np.maximum(50 - hu, 0)
    hu += np.random.default_rng(thorax.seed).normal(0, 15, hu.shape).astype(np.float32)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = thorax.step_mm, thorax.pixel_mm, thorax.pixel_mm
    affine[:, 3] = (x_W[0], y_H[0], z_D[0], 1)
    hu = np.round(hu)
    hu.setflags(write=False)
    return Volume(
        hu_DHW=hu,
        affine=affine,
        series_uid=f"{ROOT}1",
        study_uid=f"{ROOT}9",
        frame_of_reference_uid=f"{ROOT}8",
        sop_uids=tuple(f"{ROOT}1.{index + 1}" for index in range(len(hu))),
    )


def write_series(folder: Path, volume: Volume, *, series: str = "1", **attributes: object) -> None:
    """Writes a volume as one CT series of the invented patient."""
    folder.mkdir(parents=True)
    for index, hu_HW in enumerate(volume.hu_DHW):
        dataset = _make_slice(index, hu_HW, volume, series)
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"Jane_Doe_{index}.dcm", enforce_file_format=False)


def _make_slice(index: int, hu_HW: np.ndarray, volume: Volume, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT}{series}.{index + 1}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = f"{ROOT}{series}"
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = f"{ROOT}9", f"{ROOT}8"
    dataset.update(PATIENT)
    dataset.PatientSex, dataset.PatientAge = "F", "083Y"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200102", "030405", "S1"
    dataset.Manufacturer, dataset.KVP, dataset.Modality = "Maker", "120", "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesNumber, dataset.InstanceNumber = 1, index + 1
    dataset.ImagePositionPatient = volume.to_patient(np.array([[index, 0, 0]]))[0].tolist()
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    spacing_d, spacing_h, spacing_w = volume.spacing_mm
    dataset.PixelSpacing, dataset.SliceThickness = [spacing_h, spacing_w], spacing_d
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1200, "HU"
    dataset.Rows, dataset.Columns = hu_HW.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = (hu_HW + 1200).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def brightness(crops_NSS: np.ndarray) -> np.ndarray:
    """A scorer: how bright the middle of a crop is."""
    middle_NSS = crops_NSS[:, 21:30, 21:30]
    score_N: np.ndarray = middle_NSS.mean(axis=(1, 2), dtype=np.float64) / 255
    return score_N
