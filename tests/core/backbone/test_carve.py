"""Carving: the MoE backbone computes what the dense model computed (law 3)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import Tensor, nn

from moekit import Features, MoEBackbone, RoutingTrace, TopKSoftmax, UnitTopK
from moekit.backbone.build import build_dense
from moekit.backbone.sources import DEFAULT_ARCHITECTURE, find_weights
from moekit.moe.gates import Gate
from moekit.moe.routing import Routing
from moekit.testing import refused

Carve = Callable[..., MoEBackbone]
MakeVit = Callable[..., VisionTransformer]


class RoutedUnitTopK:
    """`UnitTopK`, less the promise that lets a layer run all experts as one."""

    unit_weights = False

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        return UnitTopK()(scores_BNE, k=k, bias_E=bias_E)


@pytest.fixture(scope="module")
def dense() -> VisionTransformer:
    """The dense timm model with the real weights."""
    return build_dense(DEFAULT_ARCHITECTURE, find_weights(DEFAULT_ARCHITECTURE))


@pytest.fixture
def routed(backbone: MoEBackbone) -> Iterator[MoEBackbone]:
    """The real backbone, whose layers dispatch tokens even with all experts chosen."""
    gates = [block.moe.gate for block in backbone.blocks]
    for block in backbone.blocks:
        block.moe.gate = RoutedUnitTopK()
    yield backbone
    for block, gate in zip(backbone.blocks, gates, strict=True):
        block.moe.gate = gate


def largest_difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


@pytest.mark.parametrize("size", [224, 308])
@torch.inference_mode()
def test_all_experts_are_the_dense_model_with_its_real_weights(
    size: int, dense: VisionTransformer, backbone: MoEBackbone, photos: Tensor
) -> None:
    images = nn.functional.interpolate(photos[:2], size=(size, size), mode="bilinear")
    features: Features = backbone(images)
    expected = dense.forward_features(images)
    assert expected.std() > 0.5
    assert largest_difference(features.final_BND, expected) <= 1e-4


@torch.inference_mode()
def test_all_experts_are_the_dense_model_on_everyday_photographs(
    dense: VisionTransformer, backbone: MoEBackbone, shared: Path
) -> None:
    files = sorted((shared / "data" / "photos_1k").glob("*.jpg"))[:2]
    pixels = [np.asarray(Image.open(file).convert("RGB").resize((224, 224))) for file in files]
    images = (torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255 - 0.45) / 0.225
    found: Features = backbone(images)
    assert largest_difference(found.final_BND, dense.forward_features(images)) <= 1e-4


@torch.inference_mode()
def test_all_experts_are_the_dense_model_even_when_each_runs_alone(
    dense: VisionTransformer, routed: MoEBackbone, photos: Tensor
) -> None:
    images, trace = photos[:1], RoutingTrace()
    features: Features = routed(images, trace=trace)
    assert largest_difference(features.final_BND, dense.forward_features(images)) <= 1e-4
    assert all((record.load_E == 1 / 16).all() for record in trace.blocks)


@torch.inference_mode()
def test_a_trace_of_all_experts_changes_no_bit(
    backbone: MoEBackbone, photos: Tensor, same_bits: Callable[[Tensor, Tensor], bool]
) -> None:
    images, trace = photos[:1], RoutingTrace()
    assert same_bits(backbone(images).final_BND, backbone(images, trace=trace).final_BND)
    assert [record.block for record in trace.blocks] == list(range(12))


@torch.inference_mode()
def test_fewer_experts_come_closer_to_the_dense_model_the_more_they_are(
    backbone: MoEBackbone, photos: Tensor
) -> None:
    errors = []
    exact = backbone(photos[:1]).final_BND
    for top_k in (2, 8, 15):
        backbone.top_k = top_k
        errors.append(float((backbone(photos[:1]).final_BND - exact).square().mean()))
    assert errors[0] > errors[1] > errors[2] > 0


VARIANTS = {
    "registers": {"reg_tokens": 4, "no_embed_class": True},
    "no class token": {"class_token": False, "global_pool": "avg"},
    "layer scale": {"init_values": 0.1},
    "no bias": {"proj_bias": False},
    "norm before the blocks": {"pre_norm": True},
    "normalised queries and keys": {"qk_norm": True},
    "narrow feed-forward": {"mlp_ratio": 1.5},
    "another activation": {"act_layer": nn.ReLU},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
@torch.inference_mode()
def test_a_variant_of_the_family_is_exact_too(
    options: dict[str, object], make_vit: MakeVit, carve: Carve, generator: torch.Generator
) -> None:
    carved, dense = carve(make_vit(**options)), make_vit(**options)
    images = torch.randn(2, 3, 40, 24, generator=generator)
    features: Features = carved(images)
    assert largest_difference(features.final_BND, dense.forward_features(images)) <= 1e-4
    assert features.grid == (5, 3)
    assert features.patches_BND.shape[1] == 15


@pytest.mark.parametrize(
    "architecture", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "test_vit3"]
)
@torch.inference_mode()
def test_another_model_of_timm_is_exact_too(
    architecture: str, carve: Carve, generator: torch.Generator
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(
        architecture, pretrained=False, num_classes=0, dynamic_img_size=True
    ).eval()
    dense = copy.deepcopy(model)
    images = torch.randn(1, 3, 160, 160, generator=generator)
    features: Features = carve(model)(images)
    assert largest_difference(features.final_BND, dense.forward_features(images)) <= 1e-4


def test_the_slices_are_a_partition_of_the_hidden_neurons(make_vit: MakeVit, carve: Carve) -> None:
    dense, carved = make_vit(), carve(make_vit())
    for block, source in zip(carved.blocks, dense.blocks, strict=True):
        bank = block.moe.bank
        assert (bank.experts, bank.hidden) == (16, 8)
        assert torch.equal(bank.w1_EHD.flatten(0, 1), source.mlp.fc1.weight)
        assert torch.equal(bank.w2_EHD.flatten(0, 1).T, source.mlp.fc2.weight)


@torch.inference_mode()
def test_a_gate_of_other_weights_is_not_the_dense_model(
    make_vit: MakeVit, carve: Carve, generator: torch.Generator
) -> None:
    images = torch.randn(1, 3, 32, 32, generator=generator)
    gate: Gate = TopKSoftmax()
    weighted = carve(make_vit(), gate=gate)(images).final_BND
    assert largest_difference(weighted, make_vit().forward_features(images)) > 0.01


def test_a_model_of_another_family_is_refused(carve: Carve) -> None:
    with refused("usage/unsupported-model", match="ResNet"):
        carve(timm.create_model("resnet18", pretrained=False))


REFUSED = {
    "GluMlp": {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU},
    "ParallelScalingBlock": {"block_fn": ParallelScalingBlock},
    "Mlp": {"scale_mlp_norm": True},
}


@pytest.mark.parametrize(("named", "options"), REFUSED.items(), ids=REFUSED.keys())
def test_a_block_of_another_kind_is_refused(
    named: str, options: dict[str, object], make_vit: MakeVit, carve: Carve
) -> None:
    with refused("usage/unsupported-model", match=f"{named}") as caught:
        carve(make_vit(**options))
    assert "vit_small_patch14_dinov2" in caught.value.fix


def test_a_model_whose_tokens_are_no_patches_is_refused(carve: Carve) -> None:
    hybrid = timm.create_model("vit_tiny_r_s16_p8_224", pretrained=False, num_classes=0)
    with refused("usage/unsupported-model", match="HybridEmbed"):
        carve(hybrid)


@pytest.mark.parametrize("experts", [-16, 0, 3, 256])
def test_experts_that_do_not_divide_the_neurons_are_refused(
    experts: int, make_vit: MakeVit, carve: Carve
) -> None:
    with refused("usage/not-divisible", match=f"{experts}"):
        carve(make_vit(), experts=experts)


@pytest.mark.parametrize("top_k", [-1, 0, 17])
def test_a_top_k_out_of_range_is_refused(top_k: int, make_vit: MakeVit, carve: Carve) -> None:
    with refused("usage/out-of-range", match=f"{top_k}"):
        carve(make_vit(), top_k=top_k)
