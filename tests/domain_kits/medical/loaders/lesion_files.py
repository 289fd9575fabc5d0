"""A small CT series of an invented patient with its lesion, and labels in three formats."""

import highdicom
import numpy as np
from nibabel.nifti1 import Nifti1Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage

from moekit_medical.findings.seg import build_segmentation
from moekit_medical.volume import Volume

SHAPE = (12, 24, 20)
STEP_MM, ROW_MM, COLUMN_MM = 3.0, 1.5, 1.5
ORIGIN = (-14.0, -18.0, 30.0)
ROOT = "1.2.826.0.1.3680043.8.498.77"
NAME = "Doe^Jane"
SECRET = "Doe_Jane"
"""Stands for a name in paths."""

BOX = (slice(2, 11), slice(6, 14), slice(4, 11))
"""The voxels of the lesion."""


def lesion():
    """(D, H, W) bool."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[BOX] = True
    return mask


def volume_of(number=1):
    """The series as a volume in Hounsfield units."""
    hu = np.random.default_rng(number).normal(-800, 40, SHAPE)
    hu[lesion()] = 30 + number
    affine = np.array(
        [
            [0, 0, COLUMN_MM, ORIGIN[0]],
            [0, ROW_MM, 0, ORIGIN[1]],
            [STEP_MM, 0, 0, ORIGIN[2]],
            [0, 0, 0, 1],
        ]
    )
    return Volume(
        hu_DHW=np.rint(hu).astype(np.float32),
        affine=affine,
        series_uid=f"{ROOT}.{number}",
        study_uid=f"{ROOT}.{number}.0",
        frame_of_reference_uid=f"{ROOT}.{number}.99",
        sop_uids=tuple(f"{ROOT}.{number}.{d + 1}" for d in range(SHAPE[0])),
    )


def write_series(folder, volume, *, patient="MRN-4711"):
    """Writes a volume as CT slices and returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = [_slice(d, volume, patient) for d in range(len(volume.hu_DHW))]
    for d, one in enumerate(slices):
        one.save_as(folder / f"{SECRET}{d}.dcm", enforce_file_format=True)
    return slices


def _slice(d, volume, patient):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = volume.sop_uids[d]
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, volume.sop_uids[d]
    ds.SeriesInstanceUID, ds.StudyInstanceUID = volume.series_uid, volume.study_uid
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = NAME, patient, "19410203"
    ds.PatientSex, ds.InstitutionName = "F", "General Hospital"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20200102", "030405", "S1", "A1"
    ds.Manufacturer, ds.Modality, ds.KVP = "Siemens AG", "CT", "120"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesNumber, ds.InstanceNumber = 1, d + 1
    ds.ImagePositionPatient = volume.to_patient(np.array([[d, 0, 0]]))[0].tolist()
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [ROW_MM, COLUMN_MM], STEP_MM
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1200, "HU"
    ds.Rows, ds.Columns = volume.hu_DHW.shape[1:]
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = (volume.hu_DHW[d] + 1200).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def write_seg(path, volume, mask, slices):
    """Writes a Segmentation of one segment, as moekit writes it."""
    build_segmentation(mask, volume, slices).save_as(path, enforce_file_format=True)


def write_two_segments(path, volume, masks, slices):
    """Writes a Segmentation of a lung and of a lesion."""
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=kind,
            algorithm_type="MANUAL",
        )
        for number, (label, kind) in enumerate(
            (("Lung", codes.SCT.Lung), ("Spot", codes.SCT.Neoplasm)), 1
        )
    ]
    highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.stack(masks, axis=-1),
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=f"{volume.series_uid}.80",
        series_number=9,
        sop_instance_uid=f"{volume.series_uid}.80.1",
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path, enforce_file_format=True)


def square(d, *, grow=0.0, kind="CLOSED_PLANAR", at=None):
    """A contour along the edges of the lesion in one slice; `grow` in pixels."""
    _, rows, columns = BOX if at is None else at
    top, bottom = rows.start - 0.5 - grow, rows.stop - 0.5 + grow
    left, right = columns.start - 0.5 - grow, columns.stop - 0.5 + grow
    corners = [(d, top, left), (d, top, right), (d, bottom, right), (d, bottom, left)]
    item = Dataset()
    item.ContourGeometricType = kind
    place = volume_of().to_patient(np.array(corners, dtype=float))
    item.NumberOfContourPoints = len(place)
    item.ContourData = [f"{number:.6f}" for number in place.reshape(-1)]
    return item


def structures(volume, contours=None, *, name="GTV-1", kind="", patient="MRN-4711"):
    """A structure set of one structure; by default the lesion."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.Modality = RTStructureSetStorage, "RTSTRUCT"
    ds.SOPInstanceUID, ds.SeriesInstanceUID = f"{volume.series_uid}.91", f"{volume.series_uid}.90"
    ds.StudyInstanceUID, ds.PatientName, ds.PatientID = volume.study_uid, NAME, patient
    roi, drawn, seen = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName = 1, name
    roi.ReferencedFrameOfReferenceUID = volume.frame_of_reference_uid
    drawn.ReferencedROINumber = 1
    drawn.ContourSequence = contours or [square(d) for d in range(BOX[0].start, BOX[0].stop)]
    seen.ReferencedROINumber, seen.RTROIInterpretedType = 1, kind
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = volume.series_uid
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = volume.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    ds.StructureSetROISequence, ds.ROIContourSequence = [roi], [drawn]
    ds.RTROIObservationsSequence = [seen]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    return ds


def write_structures(path, *arguments, **options):
    structures(*arguments, **options).save_as(path, enforce_file_format=True)


def write_nifti(path, values, affine):
    """Writes an array (D, H, W) on an LPS grid."""
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]
    Nifti1Image(values.T, ras).to_filename(path)
