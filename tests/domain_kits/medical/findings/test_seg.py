"""DICOM Segmentations."""

import dataclasses
import os

import highdicom
import numpy as np
import pydicom
import pytest

from moekit import DataError
from moekit.testing import refused
from moekit_medical.findings.deidentify import deidentify
from moekit_medical.findings.record import Finding
from moekit_medical.findings.seg import (
    MOST_SEGMENTS,
    build_segmentation,
    read_segmentation,
    segments_of,
)
from moekit_medical.findings.sources import write_dicom
from moekit_medical.findings.sr import build_report

SALT = b"salt of the tests"


def test_the_round_trip_through_a_file_gives_every_voxel(mask_DHW, volume, slices, tmp_path):
    write_dicom(tmp_path / "seg.dcm", build_segmentation(mask_DHW, volume, slices))
    assert np.array_equal(read_segmentation(tmp_path / "seg.dcm", volume), mask_DHW)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00UV"),
        (b"\x62\x00\x02\x00SQ\0\0", b"\x62\x00\x02\x00SQ\0\0\xff\xff\xff\x7f"),
        (b"\x08\x00\x16\x00UI\x1c\x00", b"\x08\x00\x16\x00UT\0\0\xff\xff\xff\x7f"),
    ],
)
def test_a_file_with_elements_of_another_kind_or_length_is_refused(
    mask_DHW, volume, slices, tmp_path, was, now
):
    write_dicom(tmp_path / "seg.dcm", build_segmentation(mask_DHW, volume, slices))
    content = (tmp_path / "seg.dcm").read_bytes()
    assert was in content
    at = content.index(was)
    (tmp_path / "seg.dcm").write_bytes(content[:at] + now + content[at + len(now) :])
    with pytest.raises(DataError) as caught:
        read_segmentation(tmp_path / "seg.dcm", volume)
    assert caught.value.code in ("data/not-a-segmentation", "data/dicom-failed")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_no_segmentation(volume, tmp_path, make):
    make(tmp_path / "seg.dcm")
    with refused("data/not-a-segmentation"):
        read_segmentation(tmp_path / "seg.dcm", volume)


@pytest.mark.parametrize("filled", [slice(0, 0), slice(0, 1), slice(7, 8), slice(0, 8)])
def test_empty_full_and_single_slices_survive_the_round_trip(volume, slices, filled):
    mask_DHW = np.zeros((8, 16, 16), dtype=bool)
    mask_DHW[filled] = np.random.default_rng(0).random((16, 16)) < 0.5
    assert np.array_equal(
        read_segmentation(build_segmentation(mask_DHW, volume, slices), volume), mask_DHW
    )


def finding(volume, number):
    return Finding(
        score=1 - number / 10,
        centre_mm=(1.0, 2.0, 3.0 + number),
        centre_index=(3.0, 4.0, 5.0),
        sop_uid=volume.sop_uids[3],
        size_mm=4.0,
    )


def tracked_in(item):
    """Tracking UIDs of a Structured Report by their tracking identifiers."""
    content = item.get("ContentSequence", [])
    named = {one.ConceptNameCodeSequence[0].CodeValue: one for one in content}
    found = {named["112039"].TextValue: named["112040"].UID} if "112039" in named else {}
    for child in content:
        found |= tracked_in(child)
    return found


def test_each_finding_is_a_segment_that_the_report_names_alike(volume, slices, tmp_path):
    numbers_DHW = np.zeros((8, 16, 16), dtype=np.uint16)
    numbers_DHW[2:4, 3:6, 5:8] = 1
    numbers_DHW[3:6, 8:12, 5:8] = 3  # finding 2 has no voxels
    findings = [finding(volume, number) for number in (1, 2, 3)]
    segments = segments_of([1, 3], "nodule", findings=findings)
    made = build_segmentation(numbers_DHW, volume, slices, kind="nodule", segments=segments)
    write_dicom(tmp_path / "seg.dcm", made)
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert read.number_of_segments == 2
    first, second = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert [first.SegmentLabel, second.SegmentLabel] == [
        "nodule 1, score 0.900 (research)",
        "nodule 3, score 0.700 (research)",
    ]
    assert {first.SegmentAlgorithmName, second.SegmentAlgorithmName} == {"moekit"}
    report = build_report(findings, volume, slices, kind="nodule")
    tracked = tracked_in(report)
    assert {one.TrackingID: one.TrackingUID for one in (first, second)} == {
        name: tracked[name] for name in ("nodule 1", "nodule 3")
    }
    assert first.TrackingUID != second.TrackingUID
    numbers = read_segmentation(tmp_path / "seg.dcm", volume)
    assert np.array_equal(numbers == 1, numbers_DHW == 1)
    assert np.array_equal(numbers == 2, numbers_DHW == 3)
    only_third = read.get_volume(segment_numbers=[2], combine_segments=True)
    assert (only_third.array > 0).sum() == (numbers_DHW == 3).sum()


def test_more_findings_than_segments_share_the_last_one(volume, slices):
    numbers_DHW = np.arange(1, 2049, dtype=np.uint16).reshape(8, 16, 16)
    segments = segments_of(range(1, 2049), "lesion")
    assert len(segments) == MOST_SEGMENTS
    assert segments[-1].label == "lesion 100 to 2048 (research)"
    made = build_segmentation(numbers_DHW, volume, slices, segments=segments)
    assert len({one.TrackingUID for one in made.SegmentSequence}) == MOST_SEGMENTS
    assert np.array_equal(read_segmentation(made, volume), np.minimum(numbers_DHW, 100))


def test_highdicom_finds_the_voxels_in_the_same_place_of_the_patient(mask_DHW, volume, slices):
    read = build_segmentation(mask_DHW, volume, slices).get_volume(combine_segments=True)
    found = np.argwhere(read.array) @ read.affine[:3, :3].T + read.affine[:3, 3]
    expected = volume.to_patient(np.argwhere(mask_DHW))
    assert sorted(map(tuple, found.round(6))) == sorted(map(tuple, expected.round(6)))


def test_a_repeat_is_byte_identical_whatever_the_order_of_slices(
    mask_DHW, volume, slices, tmp_path
):
    for name, given in (("a", slices), ("b", slices[::-1])):
        write_dicom(tmp_path / name, build_segmentation(mask_DHW, volume, given))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_mask_or_kind_or_grid_has_other_uids(mask_DHW, volume, slices):
    shifted = volume.affine.copy()
    shifted[2, 3] += 1
    made = [
        build_segmentation(mask_DHW, volume, slices),
        build_segmentation(~mask_DHW, volume, slices),
        build_segmentation(mask_DHW, volume, slices, kind="nodule"),
        build_segmentation(mask_DHW, dataclasses.replace(volume, affine=shifted), slices),
    ]
    assert len({seg.SOPInstanceUID for seg in made}) == 4
    assert len({seg.SeriesInstanceUID for seg in made}) == 4


def test_it_says_what_it_is_and_that_it_is_for_research(mask_DHW, volume, slices):
    seg = build_segmentation(mask_DHW, volume, slices, kind="nodule")
    assert isinstance(seg, highdicom.seg.Segmentation)
    assert (seg.Modality, seg.SegmentationType) == ("SEG", "BINARY")
    assert "not for clinical use" in seg.SeriesDescription
    assert "not for clinical use" in seg.ContentDescription
    segment = seg.SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "27925004"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentAlgorithmName == "moekit"
    assert (seg.ContentDate, seg.ContentTime) == ("20200102", "030507")


def test_it_belongs_to_the_study_of_the_slices_and_refers_to_each(mask_DHW, volume, slices):
    seg = build_segmentation(mask_DHW, volume, slices)
    assert seg.StudyInstanceUID == slices[0].StudyInstanceUID
    assert seg.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert seg.PatientID == "ID1"
    referenced = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [item.ReferencedSOPInstanceUID for item in referenced] == list(volume.sop_uids)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        (match,) = [ds for ds in slices if ds.SOPInstanceUID == source]
        assert list(match.ImagePositionPatient) == list(position)


def test_a_resampled_volume_keeps_its_own_grid(volume, slices):
    affine = volume.affine.copy()
    affine[:3, 0] /= 2
    fine = dataclasses.replace(
        volume,
        hu_DHW=np.zeros((15, 16, 16), dtype=np.float32),
        affine=affine,
        sop_uids=tuple(volume.sop_uids[d // 2] for d in range(15)),
    )
    mask_DHW = np.random.default_rng(1).random((15, 16, 16)) < 0.2
    seg = build_segmentation(mask_DHW, fine, slices)
    assert np.array_equal(read_segmentation(seg, fine), mask_DHW)
    with refused("data/other-grid"):
        read_segmentation(seg, volume)


def test_an_oblique_volume_is_placed_as_it_lies(volume, slices):
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = volume.affine.copy()
    affine[:3, :3] = turn @ affine[:3, :3]
    for ds in slices:
        ds.ImageOrientationPatient = [*turn[:, 0], *turn[:, 1]]
    turned = dataclasses.replace(volume, affine=affine)
    mask_DHW = np.random.default_rng(2).random((8, 16, 16)) < 0.2
    assert np.array_equal(
        read_segmentation(build_segmentation(mask_DHW, turned, slices), turned), mask_DHW
    )


def test_stand_ins_are_named_in_place_of_the_slices(mask_DHW, volume, slices, tmp_path):
    stand_ins = [deidentify(ds, salt=SALT) for ds in slices]
    seg = build_segmentation(mask_DHW, volume, slices, stand_ins=stand_ins)
    write_dicom(tmp_path / "seg.dcm", seg)
    data = (tmp_path / "seg.dcm").read_bytes()
    for secret in (b"Invented", b"ID1", b"ACC1", b"STUDY1", b"19500101", b"20200102", b"Referring"):
        assert secret not in data
    for ds in slices:
        for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID):
            assert uid.encode() not in data
    assert seg.StudyInstanceUID == stand_ins[0].StudyInstanceUID
    assert seg.ContentDate == "19000101"
    assert np.array_equal(read_segmentation(tmp_path / "seg.dcm", volume), mask_DHW)


def test_where_the_scanner_stands_is_not_copied(mask_DHW, volume, slices, tmp_path):
    write_dicom(tmp_path / "seg.dcm", build_segmentation(mask_DHW, volume, slices))
    assert b"Invented Hospital" not in (tmp_path / "seg.dcm").read_bytes()


def test_slices_may_be_files_and_may_be_more_than_the_volume_names(
    mask_DHW, volume, slices, tmp_path
):
    paths = []
    for index, ds in enumerate(slices):
        paths.append(tmp_path / f"{index}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    cropped = dataclasses.replace(volume, hu_DHW=volume.hu_DHW[:4], sop_uids=volume.sop_uids[:4])
    seg = build_segmentation(mask_DHW[:4], cropped, paths)
    assert np.array_equal(read_segmentation(seg, cropped), mask_DHW[:4])


def test_missing_and_malformed_patient_attributes_are_written_empty(mask_DHW, volume, slices):
    for ds in slices:
        del ds.PatientName, ds.PatientID, ds.StudyTime, ds.AccessionNumber
        ds.PatientSex = "X"
        ds.add(pydicom.DataElement("PatientBirthDate", "DA", "1.1.50", validation_mode=0))
    seg = build_segmentation(mask_DHW, volume, slices)
    assert seg.PatientName == ""
    assert not seg.PatientBirthDate
    assert seg.PatientSex == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda mask, slices: (mask.astype(np.float32), slices),
        lambda mask, slices: (mask[1:], slices),
        lambda mask, slices: (mask, slices[1:]),
        lambda mask, slices: (mask, [*slices, slices[0]]),
        lambda mask, slices: (mask, []),
    ],
)
def test_what_does_not_fit_the_volume_is_refused(mask_DHW, volume, slices, spoil):
    mask_DHW, given = spoil(mask_DHW, slices)
    with pytest.raises(DataError):
        build_segmentation(mask_DHW, volume, given)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("SeriesInstanceUID", "1.2.3"), ("FrameOfReferenceUID", ""), ("ImagePositionPatient", None)],
)
def test_a_slice_that_cannot_be_used_is_refused_without_naming_the_patient(
    mask_DHW, volume, slices, keyword, value
):
    setattr(slices[3], keyword, value)
    with pytest.raises(DataError) as caught:
        build_segmentation(mask_DHW, volume, slices)
    assert "Invented" not in str(caught.value)
    assert "ID1" not in str(caught.value)


def test_errors_of_the_library_do_not_quote_the_patient(mask_DHW, volume, slices):
    for ds in slices:
        ds.SpecificCharacterSet = "ISO_IR 999"
        del ds.ImageOrientationPatient
    with pytest.raises(DataError) as caught:
        build_segmentation(mask_DHW, volume, slices)
    assert "Invented" not in str(caught.value)


def test_only_a_segmentation_can_be_read(volume, slices, tmp_path):
    (tmp_path / "no.dcm").write_bytes(b"no DICOM file")
    for source in (slices[0], tmp_path / "no.dcm", tmp_path / "absent.dcm"):
        with refused("data/not-a-segmentation"):
            read_segmentation(source, volume)
