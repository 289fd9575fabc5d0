"""The hooks of the built-in plugin."""

from __future__ import annotations

from moekit.builtin.health import HEALTH_CHECKS
from moekit.builtin.loaders.corrections import CORRECTIONS
from moekit.builtin.loaders.folder import FOLDER
from moekit.builtin.loaders.masks import MASK_FOLDER
from moekit.builtin.loaders.npz import NPZ
from moekit.contract.commands import HealthCheckSpec
from moekit.contract.datasets import DatasetSpec
from moekit.contract.experts import GateSpec, TokenGateSpec
from moekit.contract.hookspecs import hookimpl
from moekit.contract.metrics import MetricSpec
from moekit.contract.tasks import TaskSpec
from moekit.moe.gates import ExpertChoice, TopKSigmoid, TopKSoftmax, UnitTopK
from moekit.moe.learned_token_gate import LearnedTokenGate
from moekit.moe.token_gates import ForegroundTokenGate, MotionTokenGate, TextureTokenGate
from moekit.tasks.classify import CLASSIFY
from moekit.tasks.classify.metrics import CLASS_METRICS
from moekit.tasks.score import SCORE
from moekit.tasks.score.metrics import METRICS
from moekit.tasks.segment import SEGMENT
from moekit.tasks.segment.metrics import METRICS as SEGMENT_METRICS


@hookimpl
def moekit_gates() -> list[GateSpec]:
    """The gates of the literature."""
    return [
        GateSpec(
            name="unit_top_k",
            build=UnitTopK,
            summary="the k best experts, each with weight 1",
            source="Zhang et al. 2022, arXiv:2110.01786",
            weights="unit",
        ),
        GateSpec(
            name="top_k_softmax",
            build=TopKSoftmax,
            summary="the k best experts, softmax weights",
            source="Shazeer et al. 2017, arXiv:1701.06538",
        ),
        GateSpec(
            name="top_k_sigmoid",
            build=TopKSigmoid,
            summary="the k best experts by sigmoid affinity, balanced by a bias",
            source="DeepSeek-V3, arXiv:2412.19437",
        ),
        GateSpec(
            name="expert_choice",
            build=ExpertChoice,
            summary="each expert takes its best tokens of an image",
            source="Zhou et al. 2022, arXiv:2202.09368",
            weights="free",
            count="mean",
        ),
    ]


@hookimpl
def moekit_token_gates() -> list[TokenGateSpec]:
    """What says which tokens are computed."""
    return [
        TokenGateSpec(
            name="texture",
            build=lambda _: TextureTokenGate(),
            summary="edges and grain of the picture",
            source="mean squared slope of brightness",
        ),
        TokenGateSpec(
            name="foreground",
            build=lambda _: ForegroundTokenGate(),
            summary="what is unlike the border, by the first component of the tokens",
            source="Oquab et al. 2023, arXiv:2304.07193",
        ),
        TokenGateSpec(
            name="motion",
            build=lambda _: MotionTokenGate(),
            summary="what moved since the frame before",
            source="mean absolute difference of frames",
        ),
        TokenGateSpec(
            name="learned",
            build=LearnedTokenGate,
            summary="trained in each run to foretell what merging loses",
            source="distillation from the frozen backbone, see docs/TOKENS.md",
            learned=True,
        ),
    ]


@hookimpl
def moekit_datasets() -> list[DatasetSpec]:
    """The loaders of labelled images: folders, tables, arrays, masks and corrections."""
    return [FOLDER, NPZ, MASK_FOLDER, CORRECTIONS]


@hookimpl
def moekit_metrics() -> list[MetricSpec]:
    """The metrics of the tasks."""
    return [*METRICS, *CLASS_METRICS, *SEGMENT_METRICS]


@hookimpl
def moekit_tasks() -> list[TaskSpec]:
    """The tasks that moekit itself provides."""
    return [SCORE, CLASSIFY, SEGMENT]


@hookimpl
def moekit_health_checks() -> list[HealthCheckSpec]:
    """Whether the weights are found and the cache can be written."""
    return list(HEALTH_CHECKS)
