"""Findings as a DICOM Structured Report: TID 1500 Measurement Report (PS3.16). Research use only.

A Comprehensive 3D SR (PS3.3 A.35.13), made with highdicom (Bridge et al. 2022, Journal of Digital
Imaging 35:1719-1737). The same findings on the same slices make the same bytes: UIDs follow from
content, and date and time are those of the slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from highdicom import sr
from pydicom.sr.codedict import codes

from moekit import DataError
from moekit_medical.findings.identifiers import derive_uid
from moekit_medical.findings.quiet import explained
from moekit_medical.findings.record import DISCLAIMER, Finding, in_order
from moekit_medical.findings.seg import KINDS, Kind
from moekit_medical.findings.sources import (
    MANUFACTURER,
    NOT_CLINICAL,
    SERIES_NUMBERS,
    VERSION,
    Sources,
    make_repeatable,
    match_sources,
)
from moekit_medical.findings.tracking import content_of, tracking_id, tracking_uid
from moekit_medical.volume import Volume

Group = (
    sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
    | sr.MeasurementsAndQualitativeEvaluations
)


def build_report(
    findings: Iterable[Finding],
    volume: Volume,
    sources: Sequence[pydicom.Dataset | Path],
    *,
    kind: Kind = "lesion",
    stand_ins: Sequence[pydicom.Dataset | Path] | None = None,
) -> sr.Comprehensive3DSR:
    """Makes a report with one planar measurement group (TID 1410) a finding, the best first.

    A group holds the centre as a point in patient coordinates, the diameter in mm (SCT 81827009)
    with the slice it is on, and the score as "Certainty of Finding" (DCM 111012) in percent.
    Without findings the report says that the algorithm succeeded and found nothing (DCM 111241). It
    is preliminary and unverified, and a comment says that it is not for clinical use.

    Patient and study are copied from the slices. To write without them, give stand-ins made with
    `deidentify`.

    Args:
        findings: Any number.
        volume: What they were found in.
        sources: The slices of the volume's series, as data sets or files, in any order.
        kind: What a finding is, coded in SNOMED CT.
        stand_ins: For each source, in the same order, what is referred to in its place.

    Raises:
        DataError: A finding names a slice that is not there, or the slices cannot be used.
    """
    ordered = in_order(findings)
    matched = match_sources(volume, sources, stand_ins)
    if not {finding.sop_uid for finding in ordered} <= set(matched.by_sop_uid):
        raise DataError(
            "a finding lies on a slice that is not among the sources",
            whose="a finding",
            fix="give the slices of the volume that the findings were made in",
            code="data/outside-volume",
        )
    content = (*matched.key(), kind, VERSION, *(content_of(f, matched) for f in ordered))
    date, time = matched.moment
    with explained("a Structured Report"):
        groups: list[Group] = [
            _group(finding, number, matched, kind) for number, finding in enumerate(ordered, 1)
        ]
        report = sr.Comprehensive3DSR(
            evidence=matched.slices,
            content=_report(groups or [_nothing_found(matched)])[0],
            series_instance_uid=derive_uid("sr series", *content),
            series_number=SERIES_NUMBERS["SR"],
            sop_instance_uid=derive_uid("sr instance", *content),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=VERSION,
            series_description=NOT_CLINICAL,
            is_complete=True,
            content_date=date,
            content_time=time,
        )
    make_repeatable(report, matched)
    return report


def _report(groups: Sequence[Group]) -> sr.MeasurementReport:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derive_uid("device", MANUFACTURER),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=VERSION,
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                observer_type=codes.DCM.Device, observer_identifying_attributes=device
            )
        ),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    # TID 1500 is extensible.
    comment = sr.TextContentItem(
        name=codes.DCM.Comment,
        value=DISCLAIMER,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
    report[0].ContentSequence.append(comment)
    return report


def _group(
    finding: Finding, number: int, sources: Sources, kind: Kind
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    algorithm = _algorithm()
    slice_ = sources.by_sop_uid[finding.sop_uid]
    diameter = sr.Measurement(
        name=codes.SCT.Diameter,
        value=round(float(finding.size_mm), 3),
        unit=codes.UCUM.Millimeter,
        algorithm_id=algorithm,
        referenced_images=[sr.SourceImageForMeasurement.from_source_image(slice_)],
    )
    certainty = sr.Measurement(
        name=codes.DCM.CertaintyOfFinding,
        value=round(100 * float(finding.score), 4),
        unit=codes.UCUM.Percent,
        algorithm_id=algorithm,
    )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(finding, number, sources, kind=kind),
            identifier=tracking_id(number, kind),
        ),
        referenced_region=sr.ImageRegion3D(
            graphic_type=sr.GraphicTypeValues3D.POINT,
            graphic_data=np.array([finding.centre_mm], dtype=np.float64),
            frame_of_reference_uid=sources.first.FrameOfReferenceUID,
        ),
        finding_type=KINDS[kind],
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        algorithm_id=algorithm,
        measurements=[diameter, certainty],
    )


def _nothing_found(sources: Sources) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=derive_uid("nothing found", *sources.key()), identifier="whole series"
        ),
        algorithm_id=_algorithm(),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                name=codes.DCM.CADProcessingAndFindingsSummary,
                value=codes.DCM.AllAlgorithmsSucceededWithoutFindings,
            )
        ],
    )


def _algorithm() -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(name=MANUFACTURER, version=VERSION)
