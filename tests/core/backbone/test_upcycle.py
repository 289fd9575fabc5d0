"""Upcycling: slices and replicas compute what the dense model computed, and can be trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from moekit import MoEBackbone, Provenance, RoutingTrace, UsageError
from moekit.backbone.build import build_backbone
from moekit.backbone.upcycle import build_upcycled, upcycle
from moekit.backbone.upcycled_file import load_upcycled, save_upcycled
from moekit.moe.virtual_groups import VirtualGroupTopK
from moekit.testing import refused

MakeVit = Callable[..., VisionTransformer]
Make = Callable[..., MoEBackbone]
SMALL = "test_vit"


@pytest.fixture
def make(make_vit: MakeVit) -> Make:
    """Upcycles a small model of random weights: width 32, 8 experts of 4 slices."""
    provenance = Provenance(
        architecture="tests", source="-", origin="-", sha256="0" * 64, licence="-", note="Random."
    )
    half = (0.5, 0.5, 0.5)

    def call(**changes: object) -> MoEBackbone:
        options: dict[str, object] = {"experts": 8, "slices": 4, **changes}
        return upcycle(make_vit(), provenance=provenance, mean=half, std=half, **options)

    return call


@pytest.fixture
def images(photos: Tensor) -> Tensor:
    """(8, 3, 32, 32) pieces of photographs."""
    small = nn.functional.interpolate(photos, size=(64, 32), mode="area")
    return small.unflatten(2, (2, 32)).transpose(1, 2).flatten(0, 1)


def gap(first: MoEBackbone, second: Callable[[Tensor], Tensor], images: Tensor) -> float:
    with torch.no_grad():
        return float((first(images).final_BND - second(images)).abs().max())


def replicas(model: MoEBackbone) -> Tensor:
    """(blocks, G, S, H, D) the first layers of all experts."""
    gate = model.blocks[0].moe.gate
    stacked = torch.stack([block.moe.bank.w1_EHD.detach() for block in model.blocks])
    return stacked.unflatten(1, (-1, gate.slices))


@torch.inference_mode()
def test_the_upcycled_backbone_is_the_dense_model_with_its_real_weights(
    backbone: MoEBackbone, photos: Tensor
) -> None:
    model, trace = build_upcycled(), RoutingTrace()
    found = model(photos, trace=trace).final_BND
    assert float((found - backbone(photos).final_BND).abs().max()) <= 1e-4
    for record in trace.blocks:
        slice_TK = record.routing.expert_P.view(-1, 4) % 4
        assert torch.equal(slice_TK.sort(dim=1).values, torch.arange(4).expand_as(slice_TK))
        assert torch.equal(record.routing.weight_P, torch.ones_like(record.routing.weight_P))
    used = torch.stack([record.load_E > 0 for record in trace.blocks])
    assert used.sum(1).min() >= 8, "tokens choose between groups"
    dense = build_backbone(form="none")
    assert sum(value.numel() for value in model.parameters()) > 2.9 * sum(
        value.numel() for value in dense.parameters()
    )


@pytest.mark.parametrize(("experts", "slices"), [(4, 1), (8, 8), (16, 2), (6, 2), (8, 4)])
def test_any_number_of_slices_and_replicas_is_exact(
    experts: int, slices: int, make: Make, make_vit: MakeVit, images: Tensor
) -> None:
    model = make(experts=experts, slices=slices)
    assert (model.experts, model.top_k) == (experts, slices)
    assert gap(model, make_vit().forward_features, images) <= 1e-4


@pytest.mark.parametrize("groups", [1, 2])
def test_several_whole_groups_are_exact_too(
    groups: int, make: Make, make_vit: MakeVit, images: Tensor
) -> None:
    model = make()
    model.top_k = 4 * groups
    assert gap(model, make_vit().forward_features, images) <= 1e-4


def test_balancing_the_load_keeps_groups_whole(
    make: Make, make_vit: MakeVit, images: Tensor
) -> None:
    model, trace = make(), RoutingTrace()
    with torch.no_grad():
        model(images, trace=trace)
    for record in trace.blocks:
        model.blocks[record.block].moe.router.balance(record.counts_BE.sum(0), rate=0.05)
    assert model.blocks[0].moe.router.bias_E.abs().max() > 0
    assert gap(model, make_vit().forward_features, images) <= 1e-4


def test_tokens_that_score_all_alike_take_a_whole_group() -> None:
    routing = VirtualGroupTopK(4)(torch.zeros(2, 50, 16), k=4)
    assert torch.equal(routing.expert_P.view(-1, 4), torch.arange(4).expand(100, 4))
    assert torch.equal(routing.weight_P, torch.ones(400))


def test_the_weights_of_a_token_sum_to_the_number_of_slices(generator: torch.Generator) -> None:
    scores = torch.randn(2, 5, 8, generator=generator)
    for k in (2, 3, 8):
        weight_TE = VirtualGroupTopK(2)(scores, k=k).weight_TE()
        torch.testing.assert_close(weight_TE.sum(1), torch.full((10,), 2.0))


def test_noise_tells_replicas_apart_and_ends_the_exactness(
    make: Make, make_vit: MakeVit, images: Tensor
) -> None:
    model = make(noise=0.01)
    first, second = replicas(model).unbind(1)
    spread = (first - second).std() / first.std()
    assert 0.01 < spread < 0.02
    assert 1e-4 < gap(model, make_vit().forward_features, images) < 1


def test_a_few_steps_on_real_images_lower_the_loss_and_part_the_replicas(
    make: Make, images: Tensor
) -> None:
    model = make()
    torch.manual_seed(0)
    head = nn.Linear(model.width, 3 * 8 * 8)
    target = nn.functional.unfold(images, 8, stride=8).transpose(1, 2)
    optimiser = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-3)
    losses = []
    for _ in range(12):
        trace = RoutingTrace()
        loss = (head(model(images, trace=trace).patches_BND) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(value.grad is not None for value in model.blocks.parameters())
        optimiser.step()
        for record in trace.blocks:
            counts_E = record.counts_BE.sum(0)
            model.blocks[record.block].moe.router.balance(counts_E, rate=0.02)
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses
    first, second = replicas(model).unbind(1)
    assert ((first - second).flatten(1).norm(dim=1) > 0.01).all()
    rows = model.blocks[0].moe.router.weight_ED.detach().unflatten(0, (2, 4))
    assert (rows[:, 0] != rows[:, 1]).any()


def test_a_trained_backbone_is_read_as_it_was_written(
    small_file: Path, tmp_path: Path, generator: torch.Generator
) -> None:
    model = build_upcycled(SMALL, weights=str(small_file), experts=8, slices=2, noise=0.1)
    model.top_k = 4
    with torch.no_grad():
        model.blocks[0].moe.router.weight_ED.normal_(generator=generator)
    save_upcycled(model, tmp_path / "upcycled.safetensors")
    found = load_upcycled(tmp_path / "upcycled.safetensors")
    images = torch.randn(1, 3, 96, 96, generator=generator)
    with torch.no_grad():
        assert torch.equal(found(images).final_BND, model(images).final_BND)
    assert (found.experts, found.top_k, found.mean) == (8, 4, model.mean)
    assert all(value.requires_grad and not value.is_meta for value in found.parameters())
    assert found.provenance.origin == "upcycled.safetensors"
    assert "2 slices with 4 replicas" in found.provenance.note
    assert "small.safetensors" in found.provenance.note


def test_positions_are_resampled_as_in_the_training_after_loading(
    tmp_path: Path, photos: Tensor
) -> None:
    model = build_upcycled(experts=4, slices=4)
    save_upcycled(model, tmp_path / "upcycled.safetensors")
    small = photos[:1, :, :112, :112]
    with torch.no_grad():
        expected = model(small).final_BND
        found = load_upcycled(tmp_path / "upcycled.safetensors")(small).final_BND
    assert torch.equal(found, expected)


def test_other_files_are_refused(tmp_path: Path, small_file: Path) -> None:
    with refused("weights/not-found"):
        load_upcycled(tmp_path / "nothing.safetensors")
    with refused("weights/damaged"):
        load_upcycled(small_file)
    whole = tmp_path / "whole.safetensors"
    save_upcycled(build_upcycled(SMALL, weights=str(small_file)), whole)
    short = tmp_path / "short.safetensors"
    short.write_bytes(whole.read_bytes()[:-100])
    with refused("weights/damaged"):
        load_upcycled(short)


def test_a_file_whose_tensors_are_not_those_of_its_layout_is_refused(
    tmp_path: Path, small_file: Path
) -> None:
    from safetensors import safe_open

    whole, other = tmp_path / "whole.safetensors", tmp_path / "other.safetensors"
    save_upcycled(build_upcycled(SMALL, weights=str(small_file)), whole)
    with safe_open(whole, framework="pt") as file:
        header = file.metadata()
    save_file({"one": torch.ones(1)}, other, metadata=header)
    with refused("weights/damaged"):
        load_upcycled(other)


def test_a_carved_backbone_is_not_saved_as_an_upcycled_one(
    tiny_backbone: MoEBackbone, tmp_path: Path
) -> None:
    with refused("usage/not-upcycled"):
        save_upcycled(tiny_backbone, tmp_path / "carved.safetensors")


@pytest.mark.parametrize(
    "changes", [{"experts": 6}, {"experts": 2}, {"slices": 0}, {"slices": 3}, {"noise": -1.0}]
)
def test_numbers_that_do_not_divide_are_refused(changes: dict[str, float], make: Make) -> None:
    with pytest.raises(UsageError):
        make(**changes)
