"""The hooks of the plugin."""

from __future__ import annotations

from moekit import DatasetSpec, ExpertSpec, KitSpec, MetricSpec, TaskSpec, hookimpl
from moekit_detection.instances.metrics import INSTANCE_METRICS
from moekit_detection.instances.spec import INSTANCES
from moekit_detection.judging.metrics import METRICS
from moekit_detection.kit import DETECTION, FEW
from moekit_detection.loaders import LOADERS
from moekit_detection.scene import SceneExpert
from moekit_detection.spec import DETECT


@hookimpl
def moekit_tasks() -> list[TaskSpec]:
    """The tasks `detect` and `instances`."""
    return [DETECT, INSTANCES]


@hookimpl
def moekit_kits() -> list[KitSpec]:
    """The kits `detection` and `detection-few`."""
    return [DETECTION, FEW]


@hookimpl
def moekit_experts() -> list[ExpertSpec]:
    """The scene expert."""
    return [
        ExpertSpec(
            name="scene",
            build=SceneExpert,
            summary="a bottleneck that the whole image tunes to its kind of scene",
            source="FiLM, Perez et al. 2018, arXiv:1709.07871; routing by task, Kudugunta et al. "
            "2021, arXiv:2110.03742",
        )
    ]


@hookimpl
def moekit_datasets() -> list[DatasetSpec]:
    """The loaders."""
    return list(LOADERS)


@hookimpl
def moekit_metrics() -> list[MetricSpec]:
    """The metrics of both tasks."""
    return [*METRICS, *INSTANCE_METRICS]
