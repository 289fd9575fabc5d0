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
    from moekit.cli.options import command_line, command_options
    from moekit.cli.output import print_json, reporter, say
    from moekit.contract.answers import Answer, Item, Point, Tallier, Tally, TaskContext
    from moekit.contract.commands import CommandSpec, HealthCheckSpec
    from moekit.contract.datasets import DatasetSpec
    from moekit.contract.experts import ExpertSpec, GateSpec, SpecialistSlot, TokenGateSpec
    from moekit.contract.hookspecs import hookimpl
    from moekit.contract.jobs import FitJob, FitResult, PredictJob, StoredPrefix
    from moekit.contract.kits import KitSpec
    from moekit.contract.map_counts import MapCounts
    from moekit.contract.metrics import MapMetricExample, MapMetricSpec, MetricExample, MetricSpec
    from moekit.contract.outputs import Field, HeadOutput, HeadSite, Outputs
    from moekit.contract.recipe import Recipe
    from moekit.contract.report import (
        ReportChart,
        ReportContext,
        ReportGrid,
        ReportLine,
        ReportSection,
        ReportSectionSpec,
        ReportTable,
        RunEvent,
    )
    from moekit.contract.tasks import (
        Answering,
        Correcting,
        ItemReader,
        Judge,
        Learn,
        Level,
        Show,
        SummaryJob,
        TaskSpec,
        Whole,
    )
    from moekit.data.geometry import Frame
    from moekit.data.mask_table import MaskTable
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
    from moekit.moe.specialists import BottleneckExpert, Grid, SpecialistExpert
    from moekit.moe.stats import BlockRouting, RoutingTrace
    from moekit.moe.token_gates import (
        ForegroundTokenGate,
        MotionTokenGate,
        TextureTokenGate,
        TokenGate,
    )
    from moekit.moe.tokens import TokenChoice, TokenRouting
    from moekit.plugins.registry import Registry
    from moekit.runtime.plan import RequestPlan
    from moekit.runtime.runtime import Runtime
    from moekit.runtime.together import Answers
    from moekit.tasks.score.head import PooledHead
    from moekit.tasks.score.predictions import Predictions

_HOMES = {
    "backbone.build": ("build_backbone",),
    "backbone.carve": ("carve",),
    "backbone.features": ("Features",),
    "backbone.model": (
        "MoEBackbone",
        "Provenance",
    ),
    "cli.options": (
        "command_line",
        "command_options",
    ),
    "cli.output": (
        "print_json",
        "reporter",
        "say",
    ),
    "contract.answers": (
        "Answer",
        "Item",
        "Point",
        "Tallier",
        "Tally",
        "TaskContext",
    ),
    "contract.commands": (
        "CommandSpec",
        "HealthCheckSpec",
    ),
    "contract.datasets": ("DatasetSpec",),
    "contract.experts": (
        "ExpertSpec",
        "GateSpec",
        "SpecialistSlot",
        "TokenGateSpec",
    ),
    "contract.hookspecs": ("hookimpl",),
    "contract.jobs": (
        "FitJob",
        "FitResult",
        "PredictJob",
        "StoredPrefix",
    ),
    "contract.kits": ("KitSpec",),
    "contract.map_counts": ("MapCounts",),
    "contract.metrics": (
        "MapMetricExample",
        "MapMetricSpec",
        "MetricExample",
        "MetricSpec",
    ),
    "contract.outputs": (
        "Field",
        "HeadOutput",
        "HeadSite",
        "Outputs",
    ),
    "contract.recipe": ("Recipe",),
    "contract.report": (
        "ReportChart",
        "ReportContext",
        "ReportGrid",
        "ReportLine",
        "ReportSection",
        "ReportSectionSpec",
        "ReportTable",
        "RunEvent",
    ),
    "contract.tasks": (
        "Answering",
        "Correcting",
        "ItemReader",
        "Judge",
        "Learn",
        "Level",
        "Show",
        "SummaryJob",
        "TaskSpec",
        "Whole",
    ),
    "data.geometry": ("Frame",),
    "data.mask_table": ("MaskTable",),
    "data.samples": (
        "Dataset",
        "Sample",
        "Skipped",
    ),
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
    "moe.gates": (
        "ExpertChoice",
        "Gate",
        "TopKSigmoid",
        "TopKSoftmax",
        "UnitTopK",
    ),
    "moe.routing": ("Routing",),
    "moe.specialists": (
        "BottleneckExpert",
        "Grid",
        "SpecialistExpert",
    ),
    "moe.stats": (
        "BlockRouting",
        "RoutingTrace",
    ),
    "moe.token_gates": (
        "ForegroundTokenGate",
        "MotionTokenGate",
        "TextureTokenGate",
        "TokenGate",
    ),
    "moe.tokens": (
        "TokenChoice",
        "TokenRouting",
    ),
    "plugins.registry": ("Registry",),
    "runtime.plan": ("RequestPlan",),
    "runtime.runtime": ("Runtime",),
    "runtime.together": ("Answers",),
    "tasks.score.head": ("PooledHead",),
    "tasks.score.predictions": ("Predictions",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_EARLIER = {"FitTask": "FitJob", "PredictTask": "PredictJob"}
"""Names of API 1.x and what they are called now."""

__all__ = [
    "Answer",
    "Answering",
    "Answers",
    "BlockRouting",
    "BottleneckExpert",
    "CommandSpec",
    "Correcting",
    "DataError",
    "Dataset",
    "DatasetSpec",
    "ExpertChoice",
    "ExpertSpec",
    "Features",
    "Field",
    "FitJob",
    "FitResult",
    "ForegroundTokenGate",
    "Frame",
    "Gate",
    "GateSpec",
    "Grid",
    "HeadOutput",
    "HeadSite",
    "HealthCheckSpec",
    "ImageError",
    "Item",
    "ItemReader",
    "Judge",
    "KitSpec",
    "Learn",
    "Level",
    "MapCounts",
    "MapMetricExample",
    "MapMetricSpec",
    "MaskTable",
    "MetricExample",
    "MetricSpec",
    "MoEBackbone",
    "MoekitError",
    "MotionTokenGate",
    "Outputs",
    "PluginError",
    "Point",
    "PooledHead",
    "PredictJob",
    "Predictions",
    "Provenance",
    "Recipe",
    "Registry",
    "ReportChart",
    "ReportContext",
    "ReportGrid",
    "ReportLine",
    "ReportSection",
    "ReportSectionSpec",
    "ReportTable",
    "RequestPlan",
    "Routing",
    "RoutingTrace",
    "RunEvent",
    "Runtime",
    "Sample",
    "Show",
    "Skipped",
    "SpecialistExpert",
    "SpecialistSlot",
    "StorageError",
    "StoredPrefix",
    "SummaryJob",
    "Tallier",
    "Tally",
    "TaskContext",
    "TaskSpec",
    "TextureTokenGate",
    "TokenChoice",
    "TokenGate",
    "TokenGateSpec",
    "TokenRouting",
    "TopKSigmoid",
    "TopKSoftmax",
    "UnitTopK",
    "UsageError",
    "WeightsError",
    "Whole",
    "build_backbone",
    "carve",
    "command_line",
    "command_options",
    "hookimpl",
    "print_json",
    "reporter",
    "say",
    "split_dataset",
]


def __getattr__(name: str) -> Any:
    current = _EARLIER.get(name, name)
    home = _HOME_OF.get(current)
    if home is None:
        raise AttributeError(f"module 'moekit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"moekit.{home}"), current)


def __dir__() -> list[str]:
    return sorted(__all__)
