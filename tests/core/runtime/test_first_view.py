"""All views after the first: what was computed is not computed again, and changes no answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moekit import KitSpec, MoEBackbone, Registry, RoutingTrace, Runtime
from moekit.runtime.first_view import in_two_steps
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


def test_the_second_step_leaves_out_the_first_view(
    make: Callable[[int], Predictor], images: Tensor
) -> None:
    predictor = make(4)
    steps = in_two_steps(predictor)
    assert steps is not None
    glance, completion = steps
    one, all_of_them = make(1)(images), predictor(images)
    for found, expected in ((glance(images), one), (completion(images), all_of_them)):
        assert len(found.outputs) == len(expected.outputs) == 3
        for ours, theirs in zip(found.outputs, expected.outputs, strict=True):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert passes_of(predictor.backbone, lambda: completion(images)) == 3
    assert passes_of(predictor.backbone, lambda: predictor(images)) == 4


def test_images_are_known_by_what_they_hold(
    make: Callable[[int], Predictor], images: Tensor
) -> None:
    predictor = make(2)
    steps = in_two_steps(predictor)
    assert steps is not None
    glance, completion = steps
    glance(images[:2])
    glance(images[2:])
    mixed, changed = images[[3, 0]], images + 0.5
    torch.testing.assert_close(completion(mixed).kit["logit_B"], predictor(mixed).kit["logit_B"])
    found, trace = completion(changed), RoutingTrace()
    assert torch.equal(found.kit["logit_B"], predictor(changed).kit["logit_B"])
    completion(images, trace=trace)
    assert trace.blocks


def test_one_view_is_one_step(make: Callable[[int], Predictor]) -> None:
    assert in_two_steps(make(1)) is None
