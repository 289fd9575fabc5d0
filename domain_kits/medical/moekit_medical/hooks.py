"""The hooks of the medical kit."""

from __future__ import annotations

from moekit import (
    CommandSpec,
    DatasetSpec,
    ExpertSpec,
    KitSpec,
    MetricSpec,
    ReportSectionSpec,
    hookimpl,
)
from moekit_medical.axial import AxialExpert
from moekit_medical.deidentification import DEIDENTIFY
from moekit_medical.kit import MEDICAL
from moekit_medical.lesion import LesionExpert
from moekit_medical.loaders import DATASETS
from moekit_medical.metrics import METRICS
from moekit_medical.report.calibration import CALIBRATION
from moekit_medical.report.claim import CLAIM
from moekit_medical.report.detection import DETECTION
from moekit_medical.report.subgroups import SUBGROUPS
from moekit_medical.report.tripod import TRIPOD


@hookimpl
def moekit_experts() -> list[ExpertSpec]:
    """The lesion expert, and the one that stacks of slices get next to it."""
    return [
        ExpertSpec(
            name="lesion",
            build=LesionExpert,
            summary="a bottleneck that compares a patch with its near and farther surroundings",
            source="in the line of Convpass, Jie and Deng 2022, arXiv:2207.07039",
        ),
        ExpertSpec(
            name="axial",
            build=AxialExpert,
            summary="a bottleneck that compares a patch with the same place in neighbouring slices",
            source="in the line of ST-Adapter, Pan et al. 2022, arXiv:2206.13559",
        ),
    ]


@hookimpl
def moekit_datasets() -> list[DatasetSpec]:
    """Loaders of candidates and series."""
    return list(DATASETS)


@hookimpl
def moekit_metrics() -> list[MetricSpec]:
    """Metrics of diagnostic accuracy and calibration."""
    return list(METRICS)


@hookimpl
def moekit_kits() -> list[KitSpec]:
    """The medical kit."""
    return [MEDICAL]


@hookimpl
def moekit_report_sections() -> list[ReportSectionSpec]:
    """What medical reports say next to the metrics."""
    return [CALIBRATION, CLAIM, DETECTION, SUBGROUPS, TRIPOD]


@hookimpl
def moekit_commands() -> list[CommandSpec]:
    """De-identification of files."""
    return [DEIDENTIFY]
