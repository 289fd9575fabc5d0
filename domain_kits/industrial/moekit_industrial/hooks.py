"""The hooks of the industrial kit."""

from __future__ import annotations

from moekit import (
    CommandSpec,
    DatasetSpec,
    ExpertSpec,
    KitSpec,
    MapMetricSpec,
    MetricSpec,
    ReportSectionSpec,
    TokenGateSpec,
    hookimpl,
)
from moekit_industrial.anomaly.background import THRESHOLD, BackgroundTokenGate
from moekit_industrial.bridge import ANOMALIB
from moekit_industrial.defect import DefectExpert
from moekit_industrial.elpv import ELPV
from moekit_industrial.kit import INDUSTRIAL
from moekit_industrial.loaders import DATASETS
from moekit_industrial.metrics import MAP_METRICS, METRICS
from moekit_industrial.report import DEFECT_TYPES


@hookimpl
def moekit_experts() -> list[ExpertSpec]:
    """The defect expert."""
    return [
        ExpertSpec(
            name="defect",
            build=DefectExpert,
            summary="a bottleneck that compares each patch with its neighbours",
            source="in the line of Convpass, Jie and Deng 2022, arXiv:2207.07039",
        )
    ]


@hookimpl
def moekit_token_gates() -> list[TokenGateSpec]:
    """The gate of the plain background."""
    return [
        TokenGateSpec(
            name="background",
            build=lambda _: BackgroundTokenGate(),
            summary="what differs from the plain border of the picture; textures whole",
            source="tone and contrast of patches next to those of the border",
            least_score=THRESHOLD,
        )
    ]


@hookimpl
def moekit_datasets() -> list[DatasetSpec]:
    """Loaders of inspection data."""
    return [ELPV, *DATASETS]


@hookimpl
def moekit_metrics() -> list[MetricSpec]:
    """Metrics of inspection."""
    return list(METRICS)


@hookimpl
def moekit_map_metrics() -> list[MapMetricSpec]:
    """Metrics of localisation."""
    return list(MAP_METRICS)


@hookimpl
def moekit_kits() -> list[KitSpec]:
    """The industrial kit."""
    return [INDUSTRIAL]


@hookimpl
def moekit_report_sections() -> list[ReportSectionSpec]:
    """What inspection reports say next to the metrics."""
    return [DEFECT_TYPES]


@hookimpl
def moekit_commands() -> list[CommandSpec]:
    """Models of anomalib as baselines."""
    return [ANOMALIB]
