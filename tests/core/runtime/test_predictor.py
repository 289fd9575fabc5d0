"""The predictor: a trained kit and its baseline, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moekit import KitSpec, MoEBackbone, Registry, RoutingTrace, Runtime
from moekit.data.views import view
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor
from moekit.tasks.classify import CLASSIFY
from moekit.tasks.score import SCORE
from moekit.testing import refused


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(3, 3, 32, 40, generator=generator)


@pytest.fixture
def runtime(tiny_backbone: MoEBackbone, registry: Registry) -> Runtime:
    return Runtime(tiny_backbone, registry=registry)


@pytest.fixture
def kit(runtime: Runtime, randomise: Callable[..., None]) -> KitModules:
    modules = runtime.attach("first")
    randomise(modules, by=0.3)
    return modules


@pytest.fixture
def baseline(
    runtime: Runtime, make_kit: Callable[..., KitSpec], randomise: Callable[..., None]
) -> KitModules:
    modules = runtime.attach(make_kit("baseline", slots=()))
    randomise(modules, seed=2, by=0.3)
    return modules


def test_a_predictor_gives_what_the_runtime_gives(
    runtime: Runtime, kit: KitModules, images: Tensor
) -> None:
    predictor = Predictor(
        backbone=runtime.backbone, kit=kit, baseline=None, task=SCORE, arithmetic="fp32"
    )
    scores, expected = predictor(images), runtime.predict(images, kit="first")
    assert scores.kit["logit_B"].dtype == torch.float64
    assert scores.kit["map_BHW"].dtype == torch.float32
    assert all(torch.equal(scores.kit[name], expected[name]) for name in ("logit_B", "map_BHW"))
    assert len(scores.outputs) == 1
    assert scores.seconds > 0


def test_the_baseline_scores_as_it_does_alone(
    runtime: Runtime, kit: KitModules, baseline: KitModules, images: Tensor
) -> None:
    both = Predictor(
        backbone=runtime.backbone, kit=kit, baseline=baseline, task=SCORE, arithmetic="fp32"
    )
    scores = both(images)
    ours, bare = (outputs["logit_B"] for outputs in scores.outputs)
    torch.testing.assert_close(bare, runtime.predict(images, kit="baseline")["logit_B"])
    assert not torch.allclose(bare, ours)


def test_a_baseline_changes_no_bit_of_the_kits_scores(
    runtime: Runtime, kit: KitModules, baseline: KitModules, images: Tensor
) -> None:
    with_it, without = (
        Predictor(
            backbone=runtime.backbone, kit=kit, baseline=other, task=SCORE, arithmetic="fp32"
        )(images)
        for other in (baseline, None)
    )
    assert torch.equal(with_it.kit["logit_B"], without.kit["logit_B"])


def test_bfloat16_comes_close_to_float32(runtime: Runtime, kit: KitModules, images: Tensor) -> None:
    full, half = (
        Predictor(
            backbone=runtime.backbone, kit=kit, baseline=None, task=SCORE, arithmetic=arithmetic
        )(images)
        for arithmetic in ("fp32", "bf16")
    )
    exact, near = (one.kit["logit_B"].sigmoid() for one in (full, half))
    assert not torch.equal(exact, near)
    torch.testing.assert_close(near, exact, rtol=0, atol=0.05)
    assert half.kit["map_BHW"].dtype == torch.float32


def test_a_kit_in_training_mode_is_put_into_eval_mode(runtime: Runtime, kit: KitModules) -> None:
    kit.train()
    Predictor(backbone=runtime.backbone, kit=kit, baseline=None, task=SCORE, arithmetic="fp32")
    assert not kit.training


def test_a_trace_collects_the_routing_of_backbone_and_kit(
    runtime: Runtime, kit: KitModules, baseline: KitModules, images: Tensor
) -> None:
    trace = RoutingTrace()
    predictor = Predictor(
        backbone=runtime.backbone, kit=kit, baseline=baseline, task=SCORE, arithmetic="fp32"
    )
    predictor(images, trace=trace)
    filed = [(record.block, record.kit) for record in trace.blocks]
    assert filed == [(0, None), (0, "first"), (1, None), (2, None), (2, "first")]


def test_views_are_scored_alone_and_their_log_odds_averaged(
    runtime: Runtime, kit: KitModules, baseline: KitModules, generator: torch.Generator
) -> None:
    square = torch.randn(2, 3, 32, 32, generator=generator)
    one = Predictor(
        backbone=runtime.backbone, kit=kit, baseline=baseline, task=SCORE, arithmetic="fp32"
    )
    three = Predictor(
        backbone=runtime.backbone,
        kit=kit,
        baseline=baseline,
        task=SCORE,
        arithmetic="fp32",
        views=3,
    )
    alone, mean = [one(view(square, number)) for number in range(3)], three(square)
    for model in range(2):
        expected = torch.stack([one.outputs[model]["logit_B"] for one in alone]).mean(0)
        torch.testing.assert_close(mean.outputs[model]["logit_B"], expected)
    torch.testing.assert_close(mean.kit["map_BHW"], alone[0].kit["map_BHW"])


def test_passes_of_another_top_k_on_one_backbone_are_what_they_are_alone(
    runtime: Runtime, kit: KitModules, images: Tensor
) -> None:
    few, all_of_them = (
        Predictor(
            backbone=runtime.backbone,
            kit=kit,
            baseline=None,
            task=SCORE,
            arithmetic="fp32",
            top_k=top_k,
        )
        for top_k in (2, runtime.backbone.experts)
    )
    first, other, again = few(images), all_of_them(images), few(images)
    assert torch.equal(first.kit["logit_B"], again.kit["logit_B"])
    assert not torch.equal(first.kit["logit_B"], other.kit["logit_B"])
    with runtime.backbone.at_top_k(2):
        alone = Predictor(
            backbone=runtime.backbone, kit=kit, baseline=None, task=SCORE, arithmetic="fp32"
        )(images)
    assert torch.equal(first.kit["logit_B"], alone.kit["logit_B"])


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ({"logit_BC": (3, 6)}, "logit_BC with 6 entries for 3 classes"),
        ({"logit_BC": (3, 1)}, "logit_BC with 1 entries for 3 classes"),
        ({"logit_BC": (3,)}, "logit_BC with 1 dimensions in place of 2"),
        ({"logits_BC": (3, 3)}, "no logit_BC"),
        ({"logit_BC": (3, 3), "unlike_B": (3, 1)}, "unlike_B with 2 dimensions"),
    ],
)
def test_outputs_that_are_not_those_of_the_task_name_the_kit(
    runtime: Runtime,
    make_kit: Callable[..., KitSpec],
    images: Tensor,
    outputs: dict[str, tuple[int, ...]],
    told: str,
) -> None:
    class Head(torch.nn.Module):
        def forward(self, tokens: object, grid: object) -> dict[str, Tensor]:
            return {name: torch.zeros(shape) for name, shape in outputs.items()}

    spec = make_kit("odd", task="classify", build_head=lambda site: Head())
    predictor = Predictor(
        backbone=runtime.backbone,
        kit=runtime.attach(spec, classes=3),
        baseline=None,
        task=CLASSIFY,
        arithmetic="fp32",
    )
    with refused("plugin/bad-head", match=told):
        predictor(images)
