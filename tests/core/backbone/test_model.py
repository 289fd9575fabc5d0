"""The backbone: shapes, clips, frozen weights."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moekit import Features, MoEBackbone, RoutingTrace
from moekit.testing import refused


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(6, 3, 32, 40, generator=generator)


def test_features_have_a_class_token_and_the_patches(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    features: Features = tiny_backbone(images)
    assert features.grid == (4, 5)
    assert features.final_BND.shape == (6, 1 + 20, 32)
    assert features.patches_BND.shape == (6, 20, 32)
    assert torch.equal(features.pooled_BD, features.final_BND[:, 0])


def test_without_a_class_token_the_patches_are_averaged(
    make_vit: Callable[..., torch.nn.Module], carve: Callable[..., MoEBackbone], images: Tensor
) -> None:
    features: Features = carve(make_vit(class_token=False, global_pool="avg"))(images)
    assert torch.equal(features.pooled_BD, features.final_BND.mean(1))


@pytest.mark.parametrize("top_k", [4, 16])
def test_a_clip_is_computed_frame_by_frame(
    top_k: int, tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    tiny_backbone.top_k = top_k
    clips = images.unflatten(0, (2, 3))
    features: Features = tiny_backbone(clips)
    assert features.frames == 3
    assert torch.equal(features.final_BND, tiny_backbone(images).final_BND)


@torch.inference_mode()
def test_a_real_clip_equals_its_frames_one_by_one(backbone: MoEBackbone, photos: Tensor) -> None:
    # In float32 a batch and one frame round otherwise, by instruction set and threads.
    exact = copy.deepcopy(backbone).double()
    clips = photos[:, :, :112, :112].unflatten(0, (2, 2)).double()
    features: Features = exact(clips)
    alone = [exact(frame[None]).final_BND for clip in clips for frame in clip]
    torch.testing.assert_close(features.final_BND, torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "shape",
    [(3, 32, 32), (2, 1, 32, 32), (2, 3, 30, 32), (2, 3, 32, 36), (2, 3, 0, 32), (2, 0, 3, 32, 32)],
    ids=str,
)
def test_images_of_another_shape_are_refused(
    shape: tuple[int, ...], tiny_backbone: MoEBackbone
) -> None:
    with refused("usage/image-shape") as caught:
        tiny_backbone(torch.zeros(shape))
    assert "multiples of 8" in caught.value.fix


def test_the_outputs_of_the_blocks_asked_for_are_kept(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    features: Features = tiny_backbone(images, keep=(0, 2))
    assert sorted(features.blocks) == [0, 2]
    assert torch.equal(tiny_backbone.stem.norm(features.blocks[2]), features.final_BND)


def test_blocks_may_be_run_in_two_parts(tiny_backbone: MoEBackbone, images: Tensor) -> None:
    tokens, grid = tiny_backbone.embed(images)
    whole, _ = tiny_backbone.run_blocks(tokens, grid)
    first, _ = tiny_backbone.run_blocks(tokens, grid, stop=2)
    second, _ = tiny_backbone.run_blocks(first, grid, start=2)
    assert torch.equal(whole, second)


def test_a_trace_has_one_record_a_block(tiny_backbone: MoEBackbone, images: Tensor) -> None:
    trace = RoutingTrace()
    tiny_backbone.top_k = 3
    features: Features = tiny_backbone(images, trace=trace)
    assert features.trace is trace
    assert [record.block for record in trace.blocks] == [0, 1, 2]
    assert {int(record.counts_BE.sum()) for record in trace.blocks} == {6 * 21 * 3}


@pytest.mark.parametrize("value", [0, -1, 17])
def test_top_k_stays_in_its_range(value: int, tiny_backbone: MoEBackbone) -> None:
    with refused("usage/out-of-range", match="16"):
        tiny_backbone.top_k = value
    assert tiny_backbone.top_k == 16


def test_the_backbone_stays_frozen_whatever_is_asked(tiny_backbone: MoEBackbone) -> None:
    tiny_backbone.train()
    assert not any(module.training for module in tiny_backbone.modules())
    assert not any(parameter.requires_grad for parameter in tiny_backbone.parameters())


def test_passes_at_several_top_k_on_one_object_give_what_each_gives_by_itself(carve, make_vit):
    images = torch.randn(2, 3, 32, 48)
    alone = {}
    for top_k in (4, 16):
        backbone = carve(make_vit(), top_k=top_k)
        alone[top_k] = backbone(images, keep=(0,))
    shared = carve(make_vit())
    for top_k in (4, 16, 4):
        seen = shared(images, keep=(0,), top_k=top_k)
        assert torch.equal(seen.final_BND, alone[top_k].final_BND)
        assert torch.equal(seen.blocks[0], alone[top_k].blocks[0])
    assert shared.top_k == 16
    assert not torch.equal(alone[4].final_BND, alone[16].final_BND)


@pytest.mark.parametrize("top_k", [0, 17])
def test_a_pass_refuses_a_top_k_that_there_is_not(tiny_backbone, top_k):
    with refused("usage/out-of-range", match=f"{top_k}"):
        tiny_backbone(torch.zeros(1, 3, 32, 32), top_k=top_k)


def test_what_a_backbone_computes_depends_on_the_top_k_of_the_pass(tiny_backbone):
    plain = tiny_backbone.provenance
    tiny_backbone.provenance = dataclasses.replace(plain, sparse_sha256="1" * 64)
    assert tiny_backbone.computes == tiny_backbone.computes_at(16) == "0" * 64
    assert tiny_backbone.computes_at(4) == "0" * 64 + "+" + "1" * 64
    tiny_backbone.top_k = 4
    assert tiny_backbone.computes == tiny_backbone.computes_at(4)
