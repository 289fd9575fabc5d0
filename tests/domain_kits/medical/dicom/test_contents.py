"""Pixels that are not those of the header, and enhanced objects whose frames are no slices."""

import numpy as np
import pytest
from dicom_mutations_of_places import make_enhanced
from dicom_series import SLICES, TRUTH_DHW, edit, save, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from moekit_medical.dicom.assemble import assemble

SALT = b"0123456789abcdef"


def codes(folder):
    assembly = assemble(folder, salt=SALT)
    assert not assembly.volumes
    return [refusal.code for refusal in assembly.refused]


def halve_depth(dataset, _index):
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7


def halve_columns(dataset, _index):
    dataset.Columns = dataset.Columns // 2


def leave_out_a_column(dataset, _index):
    dataset.Columns = dataset.Columns - 1


def leave_out_rows(dataset, _index):
    dataset.Rows = dataset.Rows - 3


@pytest.mark.parametrize("change", [halve_depth, halve_columns, leave_out_a_column, leave_out_rows])
def test_more_pixels_than_the_header_says_are_refused(tmp_path, change):
    write_series(tmp_path)
    edit(tmp_path, change)
    assert codes(tmp_path) == ["data/contradiction"]


def test_fewer_frames_than_the_pixels_hold_are_refused(tmp_path):
    enhanced = make_enhanced()
    enhanced.NumberOfFrames = SLICES - 2
    groups = enhanced.PerFrameFunctionalGroupsSequence
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(groups[: SLICES - 2])
    save(enhanced, tmp_path / "enhanced")
    assert codes(tmp_path) == ["data/contradiction"]


def test_a_few_bytes_after_the_pixels_are_padding(tmp_path):
    write_series(tmp_path)
    edit(tmp_path, lambda d, _: setattr(d, "PixelData", d.PixelData + bytes(6)))
    (volume,) = assemble(tmp_path, salt=SALT).volumes
    assert np.array_equal(volume.hu_DHW, TRUTH_DHW)


@pytest.mark.parametrize("bits", [1, 8, 10])
def test_pixels_of_more_bits_than_are_stored_are_refused(tmp_path, bits):
    def change(dataset, _index):
        dataset.BitsStored, dataset.HighBit = bits, bits - 1

    write_series(tmp_path)
    edit(tmp_path, change)
    assert codes(tmp_path) == ["data/contradiction"]


def test_a_range_of_padding_that_leaves_no_voxel_is_refused(tmp_path):
    def change(dataset, _index):
        dataset.add_new("PixelPaddingValue", "US", 0)
        dataset.add_new("PixelPaddingRangeLimit", "US", 65535)

    write_series(tmp_path)
    edit(tmp_path, change)
    assert codes(tmp_path) == ["data/not-hounsfield"]


def frame_type(groups, *values, technique=None):
    item = Dataset()
    item.FrameType = list(values)
    if technique:
        item.VolumeBasedCalculationTechnique = technique
    groups.CTImageFrameTypeSequence = Sequence([item])


def test_an_enhanced_object_of_projections_or_maps_is_left_aside(tmp_path):
    for number, (last, technique) in enumerate(
        [("MAXIMUM", None), ("EFF_ATOMIC_NUM", None), ("NONE", "MAX_IP"), ("NONE", "VOLUME_RENDER")]
    ):
        enhanced = make_enhanced()
        (shared,) = enhanced.SharedFunctionalGroupsSequence
        frame_type(shared, "DERIVED", "PRIMARY", "VOLUME", last, technique=technique)
        folder = tmp_path / str(number)
        folder.mkdir()
        save(enhanced, folder / "enhanced")
        assembly = assemble(folder, salt=SALT)
        assert not assembly.volumes
        assert len(assembly.ignored) == 1


def test_an_enhanced_object_with_a_localizer_among_its_frames_is_refused(tmp_path):
    enhanced = make_enhanced()
    for number, groups in enumerate(enhanced.PerFrameFunctionalGroupsSequence):
        frame_type(groups, "ORIGINAL", "PRIMARY", "VOLUME" if number else "LOCALIZER", "NONE")
    save(enhanced, tmp_path / "enhanced")
    assert codes(tmp_path) == ["data/mixed-geometry"]


def test_frames_that_say_they_are_slices_are_read(tmp_path):
    enhanced = make_enhanced()
    (shared,) = enhanced.SharedFunctionalGroupsSequence
    frame_type(shared, "ORIGINAL", "PRIMARY", "VOLUME", "NONE", technique="NONE")
    save(enhanced, tmp_path / "enhanced")
    (volume,) = assemble(tmp_path, salt=SALT).volumes
    assert np.array_equal(volume.hu_DHW, TRUTH_DHW)
