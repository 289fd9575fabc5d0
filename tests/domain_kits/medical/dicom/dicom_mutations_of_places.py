"""Mutations of places and attributes, and enhanced objects of many frames."""

import shutil
from pathlib import Path

import numpy as np
from dicom_series import (
    COLUMN_MM,
    OK,
    ORIGIN,
    REFUSED,
    REPAIRED,
    ROOT,
    ROW_MM,
    SLICES,
    STEP_MM,
    TRUTH_DHW,
    edit,
    file_of,
    make_slice,
    mutation,
    save,
    set_values,
)
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, MRImageStorage

# Places.


@mutation(REPAIRED, "between their neighbours: 1 of 8 slices", exact=True)
def one_dropped(folder):
    file_of(folder, 4).unlink()


@mutation(REPAIRED, "between their neighbours: 1 of 8 slices", exact=True)
def one_cut_off_in_its_header(folder):
    path = file_of(folder, 4)
    path.write_bytes(path.read_bytes()[:160])


@mutation(OK)
def last_dropped(folder):
    file_of(folder, SLICES - 1).unlink()


@mutation(REFUSED, "up to 2 in a row")
def two_neighbours_dropped(folder):
    file_of(folder, 3).unlink()
    file_of(folder, 4).unlink()


@mutation(REFUSED, "2 of 8 slices are missing")
def two_dropped_of_eight(folder):
    file_of(folder, 2).unlink()
    file_of(folder, 5).unlink()


def set_heights(folder, heights):
    def change(dataset, index):
        dataset.ImagePositionPatient = [*ORIGIN[:2], f"{ORIGIN[2] + heights[index]:.6f}"]

    edit(folder, change)


@mutation(REFUSED, "1 of 8 slices are missing")
def one_dropped_of_thick_slices(folder):
    set_heights(folder, [4 * index for index in range(SLICES)])
    file_of(folder, 4).unlink()


@mutation(REPAIRED, "left out: 2", exact=True)
def two_copied(folder):
    shutil.copy(file_of(folder, 2), folder / "copy")
    shutil.copy(file_of(folder, 2), folder / "another copy")


@mutation(REPAIRED, "left out: 1", exact=True)
def one_copied_under_another_sop_uid(folder):
    copy = make_slice(2)
    copy.SOPInstanceUID = f"{ROOT}5.5"
    save(copy, folder / "copy")


@mutation(REFUSED, "differ in their voxels")
def one_copied_with_other_voxels(folder):
    copy = make_slice(2, hu_HW=TRUTH_DHW[2] + 1)
    copy.SOPInstanceUID = f"{ROOT}5.5"
    save(copy, folder / "copy")


@mutation(REFUSED, "share one SOPInstanceUID")
def one_with_the_identity_of_another(folder):
    edit(folder, lambda d, i: setattr(d, "SOPInstanceUID", f"{ROOT}1.1"), only=[6])


@mutation(OK, exact=True)
def spacing_varies_within_tolerance(folder):
    set_heights(folder, [STEP_MM * index + 0.01 * (index % 2) for index in range(SLICES)])


@mutation(REPAIRED, "resampled")
def spacing_varies_a_little(folder):
    set_heights(folder, [0, 2, 4, 6, 8, 11, 14, 17])


@mutation(REFUSED, "varies from 2.00 to 5.00 mm")
def spacing_varies_much(folder):
    set_heights(folder, [0, 2, 4, 7, 10, 13, 16, 21])


@mutation(REFUSED, "varies from 4.00 to 6.00 mm")
def spacing_varies_and_is_wide(folder):
    set_heights(folder, [0, 4, 8, 12, 16, 20, 26, 32])


def set_sideways(folder, offsets):
    def change(dataset, index):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, f"{y + offsets[index]:.6f}", z]

    edit(folder, change)


@mutation(REPAIRED, "tilt of 17.7 degrees")
def gantry_tilt(folder):
    set_sideways(folder, [ROW_MM * index for index in range(SLICES)])


@mutation(REFUSED, "tilt of 33 degrees")
def tilt_beyond_any_gantry(folder):
    set_sideways(folder, [2 * ROW_MM * index for index in range(SLICES)])


@mutation(REFUSED, "without an even tilt")
def zigzag(folder):
    set_sideways(folder, [5 * (index % 2) for index in range(SLICES)])


@mutation(OK, exact=True)
def sagittal(folder):
    def change(dataset, index):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [50 - index * STEP_MM, -20, 90]

    edit(folder, change)


@mutation(OK, exact=True)
def oblique(folder):
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    normal = np.cross(turned[0], turned[1])

    def change(dataset, index):
        cosines = [f"{value:.10f}" for value in turned[:2].ravel()]
        dataset.ImageOrientationPatient = cosines
        place = np.array(ORIGIN) + index * STEP_MM * normal
        dataset.ImagePositionPatient = [f"{value:.8f}" for value in place]

    edit(folder, change)


# Attributes that are missing or contradict each other.


@mutation(REFUSED, "PixelSpacing is missing")
def no_pixel_spacing(folder):
    def change(dataset, _index):
        dataset.ImagerPixelSpacing = dataset.PixelSpacing
        del dataset.PixelSpacing

    edit(folder, change)


@mutation(REFUSED, "ImagePositionPatient is missing or malformed in 1 of 8")
def one_without_position(folder):
    edit(folder, lambda d, i: d.__delitem__("ImagePositionPatient"), only=[2])


@mutation(REFUSED, "ImageOrientationPatient is missing")
def one_without_orientation(folder):
    edit(folder, lambda d, i: d.__delitem__("ImageOrientationPatient"), only=[2])


@mutation(REFUSED, "RescaleIntercept is missing")
def no_rescale_intercept(folder):
    edit(folder, lambda d, i: d.__delitem__("RescaleIntercept"), only=[7])


@mutation(REFUSED, "RescaleSlope is 0")
def slope_of_zero(folder):
    edit(folder, lambda d, i: setattr(d, "RescaleSlope", 0), only=[7])


@mutation(REFUSED, "RescaleType is not HU")
def values_that_are_not_hounsfield(folder):
    edit(folder, lambda d, i: setattr(d, "RescaleType", "US"))


@mutation(REFUSED, "LUT is a table")
def modality_lut_table(folder):
    edit(folder, lambda d, i: setattr(d, "ModalityLUTSequence", Sequence([Dataset()])))


@mutation(REFUSED, "not of length 1")
def directions_too_long(folder):
    edit(folder, lambda d, i: setattr(d, "ImageOrientationPatient", [1.1, 0, 0, 0, 1, 0]))


@mutation(REFUSED, "not at right angles")
def directions_not_at_right_angles(folder):
    edit(folder, lambda d, i: setattr(d, "ImageOrientationPatient", [1, 0, 0, 0.6, 0.8, 0]))


@mutation(REFUSED, "PixelSpacing is not within")
def spacing_of_zero(folder):
    edit(folder, lambda d, i: setattr(d, "PixelSpacing", [0, 1]))


@mutation(REFUSED, "PatientIDs")
def two_patients(folder):
    edit(folder, lambda d, i: setattr(d, "PatientID", "MRN-0007"), only=[6, 7])


@mutation(REFUSED, "StudyInstanceUIDs")
def two_studies(folder):
    edit(folder, lambda d, i: setattr(d, "StudyInstanceUID", f"{ROOT}99"), only=[6, 7])


@mutation(REFUSED, "the modality is MR, not CT")
def wrong_modality(folder):
    edit(folder, lambda d, i: d.update({"Modality": "MR", "SOPClassUID": MRImageStorage}))


@mutation(REFUSED, "the storage class is MR Image Storage, not CT")
def wrong_storage_class(folder):
    edit(folder, lambda d, i: setattr(d, "SOPClassUID", MRImageStorage))


@mutation(REFUSED, "fewer than 3")
def two_slices_left(folder):
    for index in range(2, SLICES):
        file_of(folder, index).unlink()


@mutation(REFUSED, "several frames")
def frames_without_a_place_each(folder):
    edit(folder, lambda d, i: setattr(d, "NumberOfFrames", 2), only=[0])


@mutation((2, 0, 0), exact=True)
def two_series_in_one_folder(folder):
    for index in range(SLICES):
        save(make_slice(index, series="2"), folder / f"other{index}.dcm")


@mutation((0, 2, 0), "one of 2 matrices")
def two_matrices_in_one_series(folder):
    def change(dataset, index):
        set_values(dataset, TRUTH_DHW[index, ::2, ::2] + 1024)

    edit(folder, change, only=range(5, SLICES))


@mutation((0, 1, 1), "fewer than 3", exact=True)
def one_of_another_matrix(folder):
    edit(folder, lambda d, i: set_values(d, TRUTH_DHW[i, ::2, ::2] + 1024), only=[3])


# Enhanced CT: many frames in one file.


def make_enhanced() -> FileDataset:
    enhanced = make_slice(0)
    del enhanced.ImageOrientationPatient, enhanced.ImagePositionPatient, enhanced.PixelSpacing
    del enhanced.RescaleSlope, enhanced.RescaleIntercept, enhanced.RescaleType
    enhanced.SOPClassUID = enhanced.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    order = np.random.default_rng(0).permutation(SLICES)
    stored_FHW = np.stack([TRUTH_DHW[index] + 1000 + index for index in order])
    set_values(enhanced, stored_FHW)
    enhanced.NumberOfFrames = SLICES
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [ROW_MM, COLUMN_MM]
    shared.PixelMeasuresSequence[0].SliceThickness = STEP_MM
    shared.PlaneOrientationSequence = Sequence([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    enhanced.SharedFunctionalGroupsSequence = Sequence([shared])
    enhanced.PerFrameFunctionalGroupsSequence = Sequence([_frame(index) for index in order])
    return enhanced


def _frame(index: int) -> Dataset:
    place, values, groups = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [*ORIGIN[:2], ORIGIN[2] + index * STEP_MM]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1000 - index, "HU"
    groups.PlanePositionSequence = Sequence([place])
    groups.PixelValueTransformationSequence = Sequence([values])
    return groups


def _only_enhanced(folder: Path, enhanced: FileDataset) -> None:
    for index in range(SLICES):
        file_of(folder, index).unlink()
    save(enhanced, folder / "enhanced")


@mutation(OK, exact=True)
def enhanced_multi_frame(folder):
    _only_enhanced(folder, make_enhanced())


@mutation(REFUSED, "not one for each frame")
def enhanced_with_a_frame_too_many(folder):
    enhanced = make_enhanced()
    enhanced.NumberOfFrames = SLICES + 1
    _only_enhanced(folder, enhanced)


@mutation(REFUSED, "differ in orientation")
def enhanced_of_two_orientations(folder):
    enhanced = make_enhanced()
    for frame in enhanced.PerFrameFunctionalGroupsSequence[:4]:
        frame.PlaneOrientationSequence = Sequence([Dataset()])
        frame.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    _only_enhanced(folder, enhanced)
