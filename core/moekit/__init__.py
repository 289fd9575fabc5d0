"""moekit: vision specialists on one shared mixture-of-experts backbone.

The names below are the public interface. They are imported when they are first used, so that
`import moekit` and the command's help stay fast and do not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moekit.backbone.build import build_backbone
    from moekit.backbone.carve import carve
    from moekit.backbone.features import Features
    from moekit.backbone.model import MoEBackbone, Provenance
    from moekit.cli.options import command_options
    from moekit.cli.output import print_json, reporter, say
    from moekit.contract.commands import CommandSpec, HealthCheckSpec
    from moekit.contract.datasets import DatasetSpec
    from moekit.contract.experts import ExpertSpec, GateSpec, SpecialistSlot
    from moekit.contract.hookspecs import hookimpl
    from moekit.contract.jobs import FitJob, FitResult, PredictJob
    from moekit.contract.kits import KitSpec
    from moekit.contract.map_counts import MapCounts
    from moekit.contract.metrics import MapMetricExample, MapMetricSpec, MetricExample, MetricSpec
    from moekit.contract.outputs import HeadOutput
    from moekit.contract.recipe import Recipe
    from moekit.contract.report import (
        ReportContext,
        ReportSection,
        ReportSectionSpec,
        ReportTable,
        RunEvent,
    )
    from moekit.data.samples import Dataset, Sample, Skipped
    from moekit.data.splits import split_dataset
    from moekit.errors import (
        DataError,
        ImageError,
        MoekitError,
        PluginError,
        StorageError,
        UsageError,
        WeightsError,
    )
    from moekit.moe.gates import ExpertChoice, Gate, TopKSigmoid, TopKSoftmax, UnitTopK
    from moekit.moe.routing import Routing
    from moekit.moe.specialists import Grid, SpecialistExpert
    from moekit.moe.stats import BlockRouting, RoutingTrace
    from moekit.plugins.registry import Registry
    from moekit.runtime.runtime import Runtime
    from moekit.tasks.score.head import PooledHead
    from moekit.tasks.score.output import KitOutput

_HOMES = {
    "backbone.build": ("build_backbone",),
    "backbone.carve": ("carve",),
    "backbone.features": ("Features",),
    "backbone.model": ("MoEBackbone", "Provenance"),
    "cli.options": ("command_options",),
    "cli.output": ("print_json", "reporter", "say"),
    "tasks.score.map_counts": ("MapCounts",),
    "data.samples": ("Dataset", "Sample", "Skipped"),
    "data.splits": ("split_dataset",),
    "errors": (
        "DataError",
        "ImageError",
        "MoekitError",
        "PluginError",
        "StorageError",
        "UsageError",
        "WeightsError",
    ),
    "moe.gates": ("ExpertChoice", "Gate", "TopKSigmoid", "TopKSoftmax", "UnitTopK"),
    "moe.routing": ("Routing",),
    "moe.specialists": ("Grid", "SpecialistExpert"),
    "moe.stats": ("BlockRouting", "RoutingTrace"),
    "contract.fitting": ("FitResult", "FitJob"),
    "contract.hookspecs": ("hookimpl",),
    "contract.records": (
        "CommandSpec",
        "DatasetSpec",
        "ExpertSpec",
        "GateSpec",
        "HealthCheckSpec",
        "KitSpec",
        "MapMetricExample",
        "MapMetricSpec",
        "MetricExample",
        "MetricSpec",
        "PredictJob",
        "ReportContext",
        "ReportSection",
        "ReportSectionSpec",
        "ReportTable",
        "RunEvent",
        "SpecialistSlot",
    ),
    "plugins.registry": ("Registry",),
    "tasks.score.head": ("PooledHead",),
    "tasks.score.output": ("HeadOutput", "KitOutput"),
    "runtime.runtime": ("Runtime",),
    "contract.recipe": ("Recipe",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BlockRouting",
    "CommandSpec",
    "DataError",
    "Dataset",
    "DatasetSpec",
    "ExpertChoice",
    "ExpertSpec",
    "Features",
    "FitJob",
    "FitResult",
    "Gate",
    "GateSpec",
    "Grid",
    "HeadOutput",
    "HealthCheckSpec",
    "ImageError",
    "KitOutput",
    "KitSpec",
    "MapCounts",
    "MapMetricExample",
    "MapMetricSpec",
    "MetricExample",
    "MetricSpec",
    "MoEBackbone",
    "MoekitError",
    "PluginError",
    "PooledHead",
    "PredictJob",
    "Provenance",
    "Recipe",
    "Registry",
    "ReportContext",
    "ReportSection",
    "ReportSectionSpec",
    "ReportTable",
    "Routing",
    "RoutingTrace",
    "RunEvent",
    "Runtime",
    "Sample",
    "Skipped",
    "SpecialistExpert",
    "SpecialistSlot",
    "StorageError",
    "TopKSigmoid",
    "TopKSoftmax",
    "UnitTopK",
    "UsageError",
    "WeightsError",
    "build_backbone",
    "carve",
    "command_options",
    "hookimpl",
    "print_json",
    "reporter",
    "say",
    "split_dataset",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'moekit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"moekit.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
