"""The predictor: a trained kit and its baseline, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor

from moekit import KitSpec, MoEBackbone, Registry, RoutingTrace, Runtime
from moekit.data.views import view
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor


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
    predictor = Predictor(backbone=runtime.backbone, kit=kit, baseline=None, arithmetic="fp32")
    scores, expected = predictor(images), runtime.predict(images, kit="first")
    assert scores.score_B.dtype == torch.float64
    torch.testing.assert_close(scores.score_B.float(), expected.score_B)
    torch.testing.assert_close(scores.map_BHW, expected.map_BHW)
    assert scores.baseline_B is None
    assert scores.seconds > 0


def test_the_baseline_scores_as_it_does_alone(
    runtime: Runtime, kit: KitModules, baseline: KitModules, images: Tensor
) -> None:
    both = Predictor(backbone=runtime.backbone, kit=kit, baseline=baseline, arithmetic="fp32")
    scores = both(images)
    assert scores.baseline_B is not None
    alone = runtime.predict(images, kit="baseline").score_B
    torch.testing.assert_close(scores.baseline_B.float(), alone)
    assert not torch.allclose(scores.baseline_B, scores.score_B)


def test_a_baseline_changes_no_bit_of_the_kits_scores(
    runtime: Runtime, kit: KitModules, baseline: KitModules, images: Tensor
) -> None:
    with_it, without = (
        Predictor(backbone=runtime.backbone, kit=kit, baseline=other, arithmetic="fp32")(images)
        for other in (baseline, None)
    )
    assert torch.equal(with_it.score_B, without.score_B)


def test_bfloat16_comes_close_to_float32(runtime: Runtime, kit: KitModules, images: Tensor) -> None:
    full, half = (
        Predictor(backbone=runtime.backbone, kit=kit, baseline=None, arithmetic=arithmetic)(images)
        for arithmetic in ("fp32", "bf16")
    )
    assert not torch.equal(full.score_B, half.score_B)
    torch.testing.assert_close(half.score_B, full.score_B, rtol=0, atol=0.05)
    assert half.map_BHW is not None
    assert half.map_BHW.dtype == torch.float32


def test_a_kit_in_training_mode_is_put_into_eval_mode(runtime: Runtime, kit: KitModules) -> None:
    kit.train()
    Predictor(backbone=runtime.backbone, kit=kit, baseline=None, arithmetic="fp32")
    assert not kit.training


def test_a_trace_collects_the_routing_of_backbone_and_kit(
    runtime: Runtime, kit: KitModules, baseline: KitModules, images: Tensor
) -> None:
    trace = RoutingTrace()
    predictor = Predictor(backbone=runtime.backbone, kit=kit, baseline=baseline, arithmetic="fp32")
    predictor(images, trace=trace)
    filed = [(record.block, record.kit) for record in trace.blocks]
    assert filed == [(0, None), (0, "first"), (1, None), (2, None), (2, "first")]


def test_views_are_scored_alone_and_their_log_odds_averaged(
    runtime: Runtime, kit: KitModules, baseline: KitModules, generator: torch.Generator
) -> None:
    square = torch.randn(2, 3, 32, 32, generator=generator)
    one = Predictor(backbone=runtime.backbone, kit=kit, baseline=baseline, arithmetic="fp32")
    three = Predictor(
        backbone=runtime.backbone, kit=kit, baseline=baseline, arithmetic="fp32", views=3
    )
    alone, mean = [one(view(square, number)) for number in range(3)], three(square)
    expected = torch.stack([scores.score_B.logit() for scores in alone]).mean(0)
    torch.testing.assert_close(mean.score_B.logit(), expected)
    assert mean.baseline_B is not None
    bare = torch.stack([cast(Tensor, scores.baseline_B).logit() for scores in alone]).mean(0)
    torch.testing.assert_close(mean.baseline_B.logit(), bare)
    torch.testing.assert_close(mean.map_BHW, alone[0].map_BHW)
