"""A radiotherapist's tumour, through the kit's coordinates: contours, mask, centroid, Segmentation.

The IBSI lung patient comes as CT, as RTSTRUCT with the tumour GTV-1, and as NIfTI with a mask of it
that others made. Boxes of radiologists are held by test_real.py.
"""

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array
from skimage.draw import polygon2mask

from moekit_medical.dicom.assemble import assemble
from moekit_medical.findings.seg import build_segmentation, read_segmentation
from moekit_medical.findings.sources import write_dicom

SALT = b"a secret of the tests"
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TUMOUR = "GTV-1"


@pytest.fixture(scope="module")
def patient(shared):
    return shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1"


@pytest.fixture(scope="module")
def volume(patient):
    (volume,) = assemble(patient / "ct", salt=SALT).volumes
    return volume


@pytest.fixture(scope="module")
def slices(patient):
    return [pydicom.dcmread(path) for path in (patient / "ct").iterdir()]


@pytest.fixture(scope="module")
def contours(patient):
    """(N, 3) LPS mm of each contour of the tumour."""
    (path,) = (patient / "rtstruct").iterdir()
    dataset = pydicom.dcmread(path)
    (number,) = (roi.ROINumber for roi in dataset.StructureSetROISequence if roi.ROIName == TUMOUR)
    (of_tumour,) = (roi for roi in dataset.ROIContourSequence if roi.ReferencedROINumber == number)
    return [
        np.reshape(contour.ContourData, (-1, 3)).astype(float)
        for contour in of_tumour.ContourSequence
        if contour.ContourGeometricType == "CLOSED_PLANAR"
    ]


@pytest.fixture(scope="module")
def drawn_DHW(contours, volume):
    """(D, H, W) bool: voxels with centres within a contour; one within another is a hole."""
    mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
    for contour in contours:
        index_N3 = volume.to_index(contour)
        (d,) = {round(float(value)) for value in index_N3[:, 0]}
        mask_DHW[d] ^= polygon2mask(mask_DHW.shape[1:], index_N3[:, 1:])
    return mask_DHW


@pytest.fixture(scope="module")
def given_DHW(patient, volume):
    """(D, H, W) bool: the mask of the NIfTI file, read at the place of each voxel of the volume."""
    image = nibabel.load(patient / "nifti" / "mask" / "mask.nii.gz")
    values = np.asarray(image.dataobj) > 0
    index = np.argwhere(np.ones(volume.hu_DHW.shape, dtype=bool))
    lps = np.c_[volume.to_patient(index.astype(float)), np.ones(len(index))]
    voxel = np.rint((lps @ LPS_FROM_RAS.T @ np.linalg.inv(image.affine).T)[:, :3]).astype(int)
    assert ((voxel >= 0) & (voxel < values.shape)).all()
    return values[tuple(voxel.T)].reshape(volume.hu_DHW.shape)


def test_the_contours_of_the_tumour_make_the_mask_that_others_made(drawn_DHW, given_DHW):
    dice = 2 * (drawn_DHW & given_DHW).sum() / (drawn_DHW.sum() + given_DHW.sum())
    assert given_DHW.sum() > 10_000
    assert dice >= 0.95, dice


def test_a_voxel_to_any_side_the_masks_agree_less(drawn_DHW, given_DHW):
    """A shift of half a voxel or an exchange of rows and columns would show here."""
    best = (drawn_DHW & given_DHW).sum()
    for axis in range(3):
        for step in (-1, 1):
            assert (np.roll(drawn_DHW, step, axis) & given_DHW).sum() < best


def test_the_centroid_of_the_tumour_is_that_of_the_file_within_one_voxel(
    patient, volume, drawn_DHW
):
    image = nibabel.load(patient / "nifti" / "mask" / "mask.nii.gz")
    middle_IJK = np.argwhere(np.asarray(image.dataobj) > 0).mean(axis=0)
    centroid_mm = LPS_FROM_RAS @ image.affine @ [*middle_IJK, 1]
    found = volume.to_index(centroid_mm[None, :3])[0]
    assert np.abs(found - np.argwhere(drawn_DHW).mean(axis=0)).max() < 1
    assert drawn_DHW[tuple(np.rint(found).astype(int))]


def test_every_voxel_of_a_slice_lies_where_its_own_header_says(volume, slices):
    by_uid = {dataset.SOPInstanceUID: dataset for dataset in slices}
    for d, uid in enumerate(volume.sop_uids):
        dataset = by_uid[uid]
        row, column = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        h, w = 31, 7
        place = np.array(dataset.ImagePositionPatient, dtype=float)
        place = place + row * (w * between_columns) + column * (h * between_rows)
        np.testing.assert_allclose(volume.to_index(place[None])[0], [d, h, w], atol=0.01)
        hu_HW = pixel_array(dataset) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(volume.hu_DHW[d], hu_HW.astype(np.float32))


def test_the_tumour_written_as_a_segmentation_is_read_back_voxel_by_voxel(
    volume, slices, drawn_DHW, tmp_path
):
    write_dicom(tmp_path / "seg.dcm", build_segmentation(drawn_DHW, volume, slices, kind="nodule"))
    np.testing.assert_array_equal(read_segmentation(tmp_path / "seg.dcm", volume), drawn_DHW)
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    assert written.FrameOfReferenceUID == volume.frame_of_reference_uid
    assert written.StudyInstanceUID == volume.study_uid
    # Another reader: the frames lie on the slices that they name.
    frames = pixel_array(written).reshape(-1, *drawn_DHW.shape[1:])
    for frame_HW, group in zip(frames, written.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        d = volume.sop_uids.index(source.ReferencedSOPInstanceUID)
        np.testing.assert_array_equal(frame_HW.astype(bool), drawn_DHW[d])
