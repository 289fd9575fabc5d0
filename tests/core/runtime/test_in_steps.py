"""More and more views: none is computed twice, and each step answers as it does by itself."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moekit import KitSpec, MoEBackbone, Registry, RoutingTrace, Runtime
from moekit.runtime.in_steps import in_steps
from moekit.runtime.predictor import Predictor
from moekit.tasks.score import SCORE


@pytest.fixture
def make(
    tiny_backbone: MoEBackbone,
    registry: Registry,
    make_kit: Callable[..., KitSpec],
    randomise: Callable[..., None],
) -> Callable[[int], Predictor]:
    runtime = Runtime(tiny_backbone, registry=registry)
    kit, baseline = runtime.attach("first"), runtime.attach(make_kit("baseline", slots=()))
    for seed, modules in enumerate((kit, baseline)):
        randomise(modules, seed=seed, by=0.3)

    def made(views: int) -> Predictor:
        return Predictor(
            backbone=runtime.backbone,
            kit=kit,
            baseline=baseline,
            task=SCORE,
            arithmetic="fp32",
            views=views,
            mean="beside",
        )

    return made


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=generator)


def passes_of(backbone: MoEBackbone, call: Callable[[], object]) -> int:
    """Forward passes of the backbone during a call."""
    counted: list[None] = []
    hook = backbone.stem.patch_embed.register_forward_hook(lambda *_: counted.append(None))
    try:
        call()
    finally:
        hook.remove()
    return len(counted)


def test_no_step_computes_a_view_again(make: Callable[[int], Predictor], images: Tensor) -> None:
    predictor = make(4)
    steps = in_steps(predictor)
    assert [step.count for step in steps] == [1, 2, 4]
    passes = []
    for step in steps:
        passes.append(passes_of(predictor.backbone, functools.partial(step, images)))
        found, expected = step(images), make(step.count)(images)
        assert len(found.outputs) == len(expected.outputs) == 3
        for ours, theirs in zip(found.outputs, expected.outputs, strict=True):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert passes == [1, 1, 2]
    assert passes_of(predictor.backbone, lambda: predictor(images)) == 4
    assert passes_of(predictor.backbone, lambda: steps[0](images)) == 0


def test_images_are_known_by_what_they_hold(
    make: Callable[[int], Predictor], images: Tensor
) -> None:
    predictor = make(2)
    glance, whole = in_steps(predictor)
    glance(images[:2])
    glance(images[2:])
    mixed, changed = images[[3, 0]], images + 0.5
    torch.testing.assert_close(whole(mixed).kit["logit_B"], predictor(mixed).kit["logit_B"])
    found, trace = whole(changed), RoutingTrace()
    assert torch.equal(found.kit["logit_B"], predictor(changed).kit["logit_B"])
    whole(images, trace=trace)
    assert trace.blocks


def test_views_that_some_images_lack_are_computed_for_all(
    make: Callable[[int], Predictor], images: Tensor
) -> None:
    predictor = make(3)
    glance, _, whole = in_steps(predictor)
    glance(images[:1])
    torch.testing.assert_close(whole(images).kit["logit_B"], predictor(images).kit["logit_B"])


def test_one_view_is_one_step(make: Callable[[int], Predictor]) -> None:
    assert len(in_steps(make(1))) == 1
