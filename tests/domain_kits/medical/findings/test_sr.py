"""DICOM Structured Reports."""

import pydicom
import pytest
from highdicom import sr
from pydicom.sr.codedict import codes

from moekit.testing import refused
from moekit_medical.findings.deidentify import deidentify
from moekit_medical.findings.record import Finding
from moekit_medical.findings.sources import write_dicom
from moekit_medical.findings.sr import build_report

SALT = b"salt of the tests"


@pytest.fixture
def findings(volume) -> list[Finding]:
    return [
        Finding(
            score=score,
            centre_mm=(x, -15.25, 105.0),
            centre_index=(2.0, 9.5, (x + 10) / 0.75),
            sop_uid=volume.sop_uids[2],
            size_mm=size,
        )
        for score, x, size in ((0.25, -4.0, 6.5), (0.875, -1.0, 12.125))
    ]


def reread(path, report) -> sr.Comprehensive3DSR:
    write_dicom(path, report)
    return sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(path))


def test_a_reader_finds_place_size_and_score_of_each_finding(findings, volume, slices, tmp_path):
    report = reread(tmp_path / "sr.dcm", build_report(findings, volume, slices))
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    for group, finding in zip(groups, reversed(findings), strict=True):
        region = group.roi
        assert region.graphic_type == sr.GraphicTypeValues3D.POINT
        assert region.value.tolist() == [list(finding.centre_mm)]
        assert region.frame_of_reference_uid == volume.frame_of_reference_uid
        assert group.finding_type == codes.SCT.Lesion
        (size,) = group.get_measurements(name=codes.SCT.Diameter)
        assert (size.value, size.unit) == (finding.size_mm, codes.UCUM.Millimeter)
        assert size.referenced_images[0].referenced_sop_instance_uid == finding.sop_uid
        (score,) = group.get_measurements(name=codes.DCM.CertaintyOfFinding)
        assert (score.value, score.unit) == (100 * finding.score, codes.UCUM.Percent)


def test_it_is_a_preliminary_measurement_report_that_is_not_for_clinical_use(
    findings, volume, slices
):
    report = build_report(findings, volume, slices)
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    texts = [item.TextValue for item in report.ContentSequence if item.ValueType == "TEXT"]
    assert "Research software, not for clinical use." in texts
    assert "not for clinical use" in report.SeriesDescription


def test_a_report_of_no_findings_says_so(volume, slices, tmp_path):
    report = reread(tmp_path / "sr.dcm", build_report([], volume, slices))
    assert report.content.get_planar_roi_measurement_groups() == []
    (group,) = report.content.get_image_measurement_groups()
    (evaluation,) = group.get_qualitative_evaluations()
    assert evaluation.value == codes.DCM.AllAlgorithmsSucceededWithoutFindings


def test_a_repeat_is_byte_identical_in_any_order(findings, volume, slices, tmp_path):
    write_dicom(tmp_path / "a", build_report(findings, volume, slices))
    write_dicom(tmp_path / "b", build_report(findings[::-1], volume, slices[::-1]))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_findings_have_other_uids(findings, volume, slices):
    made = [build_report(given, volume, slices) for given in (findings, findings[:1], [])]
    made.append(build_report(findings, volume, slices, kind="nodule"))
    assert len({report.SOPInstanceUID for report in made}) == 4


def test_each_finding_has_its_own_tracking_uid(findings, volume, slices, tmp_path):
    report = reread(tmp_path / "sr.dcm", build_report(findings, volume, slices))
    groups = report.content.get_planar_roi_measurement_groups()
    assert len({group.tracking_uid for group in groups}) == 2
    assert [group.tracking_identifier for group in groups] == ["lesion 1", "lesion 2"]


def test_it_belongs_to_the_study_and_lists_every_slice_as_evidence(findings, volume, slices):
    report = build_report(findings, volume, slices)
    assert report.StudyInstanceUID == volume.study_uid
    assert report.PatientName == "Invented^Patient"
    assert {sop for _, _, sop, _ in report.get_evidence()} == set(volume.sop_uids)


def test_stand_ins_are_named_in_place_of_the_slices(findings, volume, slices, tmp_path):
    stand_ins = [deidentify(ds, salt=SALT) for ds in slices]
    report = build_report(findings, volume, slices, stand_ins=stand_ins)
    write_dicom(tmp_path / "sr.dcm", report)
    data = (tmp_path / "sr.dcm").read_bytes()
    for secret in (b"Invented", b"ID1", b"ACC1", b"STUDY1", b"19500101", b"20200102", b"Referring"):
        assert secret not in data
    for ds in slices:
        for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID):
            assert uid.encode() not in data
    assert report.StudyInstanceUID == stand_ins[0].StudyInstanceUID


def test_stand_ins_must_be_one_for_each_slice(findings, volume, slices):
    with refused("data/other-slices"):
        build_report(findings, volume, slices, stand_ins=slices[1:])


def test_a_finding_on_an_absent_slice_is_refused(findings, volume, slices):
    stray = Finding(
        score=0.5, centre_mm=(0, 0, 0), centre_index=(0, 0, 0), sop_uid="1.2.3", size_mm=1.0
    )
    with refused("data/outside-volume"):
        build_report([*findings, stray], volume, slices)
