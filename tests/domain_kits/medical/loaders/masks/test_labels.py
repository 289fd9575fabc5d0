"""Structure sets, segmentations and NIfTI labels on a volume, and what is refused."""

import dataclasses

import numpy as np
import pytest
from lesion_files import (
    BOX,
    SHAPE,
    lesion,
    square,
    structures,
    volume_of,
    write_nifti,
    write_seg,
    write_series,
    write_structures,
    write_two_segments,
)

from moekit.testing import refused
from moekit_medical.dicom.assemble import assemble
from moekit_medical.loaders.lesion_labels import LabelFiles, nifti_label
from moekit_medical.loaders.masks.grid import MaskError, check_own_slices, dice
from moekit_medical.loaders.masks.names import LesionNames, parse_names
from moekit_medical.loaders.series_scan import look_through

FULL = slice(None)


@pytest.fixture
def volume():
    return volume_of()


@pytest.fixture
def slices(tmp_path, volume):
    return write_series(tmp_path / "ct", volume)


def labels_in(folder, names=None):
    files = LabelFiles(names or LesionNames(), salt=b"salt")
    look_through(folder, salt=b"salt", sops=(), visit=files.visit)
    return files.labels


def only(folder, names=None):
    (label,) = labels_in(folder, names)
    return label


def test_contours_become_the_voxels_that_they_enclose(tmp_path, volume):
    write_structures(tmp_path / "rt.dcm", volume)
    label = only(tmp_path)
    assert label.series == {volume.series_uid}
    assert np.array_equal(label.lesions(volume), lesion())


def test_a_hole_is_drawn_by_exclusive_or(tmp_path, volume):
    hole = (FULL, slice(8, 11), slice(6, 9))
    kind = "CLOSEDPLANAR_XOR"
    drawn = [square(4, kind=kind), square(4, kind=kind, at=hole)]
    write_structures(tmp_path / "rt.dcm", volume, drawn)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[4][BOX[1:]] = True
    expected[4, 8:11, 6:9] = False
    assert np.array_equal(only(tmp_path).lesions(volume), expected)


@pytest.mark.parametrize(
    ("contours", "says"),
    [
        ([square(4), square(4, grow=-2)], "lies within another one"),
        ([square(4.5)], "between the slices"),
        ([square(12)], "beyond the slices"),
        ([square(4, grow=30)], "leaves the picture"),
        ([square(4, kind="OPEN_PLANAR")], "not closed"),
    ],
)
def test_contours_that_contradict_the_series_are_refused(tmp_path, volume, contours, says):
    write_structures(tmp_path / "rt.dcm", volume, contours)
    with pytest.raises(MaskError, match=f"its structure set: .*{says}"):
        only(tmp_path).lesions(volume)


def test_another_frame_of_reference_is_refused(tmp_path, volume):
    made = structures(volume)
    made.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"
    made.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    with pytest.raises(MaskError, match="frame of reference is another"):
        only(tmp_path).lesions(volume)


def test_a_structure_is_a_lesion_by_its_label_or_its_type(tmp_path, volume):
    write_structures(tmp_path / "rt.dcm", volume, name="Lung_L")
    assert only(tmp_path).is_empty
    assert only(tmp_path, parse_names("lung*")).lesions(volume).any()
    write_structures(tmp_path / "rt.dcm", volume, name="Doe Jane", kind="GTV")
    assert only(tmp_path).lesions(volume).any()
    with refused("data/bad-option", match="roi"):
        parse_names("gtv,,")


def test_a_segmentation_is_read_as_it_was_written(tmp_path, volume, slices):
    write_seg(tmp_path / "seg.dcm", volume, lesion(), slices)
    label = only(tmp_path)
    assert np.array_equal(label.lesions(volume), lesion())
    assert np.array_equal(label.lesions(assemble(tmp_path / "ct", salt=b"s").volumes[0]), lesion())


def test_of_several_segments_the_lesions_are_taken(tmp_path, volume, slices):
    other = np.zeros(SHAPE, dtype=bool)
    other[0:3, 0:4] = True
    write_two_segments(tmp_path / "seg.dcm", volume, [other, lesion()], slices)
    assert np.array_equal(only(tmp_path).lesions(volume), lesion())
    both = only(tmp_path, parse_names("lung,spot")).lesions(volume)
    assert np.array_equal(both, lesion() | other)


def test_a_segmentation_on_other_voxels_is_refused(tmp_path, volume, slices):
    write_seg(tmp_path / "seg.dcm", volume, lesion(), slices)
    label = only(tmp_path)
    for shift, says in (((0, 0, 0.7, 0), "do not lie on"), ((1.5, 0, 0, 0), "between")):
        moved = volume.affine.copy()
        moved[:3, 3] += np.array([shift[2], shift[1], shift[0]])
        with pytest.raises(MaskError, match=says):
            label.lesions(_replaced(volume, affine=moved))
    with pytest.raises(MaskError, match="another size"):
        label.lesions(_replaced(volume, hu_DHW=volume.hu_DHW[:, :-1]))
    with pytest.raises(MaskError, match="frame of reference"):
        label.lesions(_replaced(volume, frame_of_reference_uid="1.2.3"))


def _replaced(volume, **changes):
    return dataclasses.replace(volume, **changes)


@pytest.mark.parametrize("turn", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_a_nifti_label_is_read_whatever_the_order_of_its_axes(tmp_path, volume, turn):
    values, affine = lesion().astype(np.uint8) * 3, volume.affine.copy()
    for axis, way in enumerate(turn):
        if way < 0:
            values = np.flip(values, axis)
            affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
            affine[:3, axis] *= -1
    write_nifti(tmp_path / "mask.nii.gz", values, affine)
    assert np.array_equal(nifti_label(tmp_path / "mask.nii.gz").lesions(volume), lesion())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda values, affine: (values[1:], affine), "another size"),
        (
            lambda values, affine: (values, affine + np.eye(4)[:, [3, 3, 3, 0]] * 0.5),
            "do not lie on",
        ),
        (lambda values, affine: (values * 0.5, affine), "not whole numbers"),
    ],
)
def test_a_nifti_label_that_contradicts_the_series_is_refused(tmp_path, volume, change, says):
    values, affine = change(lesion().astype(np.float32), volume.affine)
    write_nifti(tmp_path / "mask.nii.gz", values, affine)
    with pytest.raises(MaskError, match=says):
        nifti_label(tmp_path / "mask.nii.gz").lesions(volume)


def test_no_mask_belongs_to_slices_that_were_interpolated(volume):
    check_own_slices(_replaced(volume, repairs=("A copy was left out.",)))
    one_object = (volume.sop_uids[0],) * SHAPE[0]
    check_own_slices(_replaced(volume, sop_uids=one_object, repairs=("Something was mended.",)))
    with pytest.raises(MaskError, match="interpolated"):
        check_own_slices(_replaced(volume, is_interpolated=True))


def test_damaged_labels_are_refused_without_their_content(tmp_path, volume, slices):
    write_seg(tmp_path / "seg.dcm", volume, lesion(), slices)
    whole = (tmp_path / "seg.dcm").read_bytes()
    (tmp_path / "seg.dcm").write_bytes(whole[:-40])
    with pytest.raises(MaskError) as caught:
        only(tmp_path).lesions(volume)
    assert "Doe" not in str(caught.value)


def test_the_structure_set_of_a_real_patient_agrees_with_its_nifti_label(shared):
    folder = shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1"
    (volume,) = assemble(folder / "ct", salt=b"s").volumes
    drawn = only(folder).lesions(volume)
    given = nifti_label(folder / "nifti" / "mask" / "mask.nii.gz").lesions(volume)
    assert dice(drawn, given) >= 0.95
    assert drawn.any(axis=(1, 2)).sum() == 26
