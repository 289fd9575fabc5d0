"""The formulas of a plan, held to real models."""

from __future__ import annotations

import pydantic
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from moekit import MoEBackbone, Routing, UsageError
from moekit.backbone.block import MoEBlock
from moekit.moe.dispatch import dispatch_loop
from moekit.moe.experts import ExpertBank
from moekit.moe.layer import MoELayer
from moekit.scale.counts import block_activations, count_parameters, forward_flops
from moekit.scale.plan import make_plan
from moekit.scale.tier import Tier

SMALL = Tier(blocks=3, width=96, heads=3, hidden=64, experts=8, top_k=2, patch=8, image_size=64)
ODD = Tier(blocks=2, width=48, heads=3, hidden=40, experts=7, top_k=3, patch=4, image_size=20)


@pytest.fixture(scope="module")
def base() -> MoEBackbone:
    """The base tier, without memory."""
    return Tier().build()


def numel(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_the_base_tier_has_about_fifteen_billion_parameters(base: MoEBackbone) -> None:
    tier = Tier()
    assert (tier.blocks, tier.experts, tier.top_k) == (128, 16, 4)
    assert numel(base) == count_parameters(tier).total
    assert numel(base) == pytest.approx(15e9, rel=0.02)


def test_the_base_tier_is_made_of_the_classes_that_run(base: MoEBackbone) -> None:
    assert type(base) is MoEBackbone
    assert len(base.blocks) == 128
    assert all(type(block) is MoEBlock and type(block.moe) is MoELayer for block in base.blocks)
    assert base.blocks[127].moe.bank.w1_EHD.shape == (16, 1792, 1792)
    assert all(value.is_meta and value.requires_grad for value in base.parameters())
    assert "Not trained" in base.provenance.note


def test_a_token_of_the_base_tier_meets_what_a_dense_model_has() -> None:
    active = count_parameters(Tier()).active
    dense = count_parameters(Tier(experts=1, top_k=1, hidden=4 * 1792)).total
    assert active == pytest.approx(dense, rel=0.002)


@pytest.mark.parametrize("tier", [SMALL, ODD, Tier().twin()], ids=["small", "odd", "twin"])
def test_the_parameters_are_those_of_the_built_model(tier: Tier) -> None:
    built, counted = tier.build("cpu"), count_parameters(tier)
    assert numel(built) == counted.total
    banks = [block.moe.bank for block in built.blocks]
    biases = sum(bank.b2_D.numel() for bank in banks)
    assert counted.shared_biases == biases
    assert counted.experts == sum(numel(bank) for bank in banks) - biases
    assert counted.unused == counted.experts * (tier.experts - tier.top_k) // tier.experts


def without_padding(x_TD: Tensor, routing: Routing, bank: ExpertBank) -> Tensor:
    """The arithmetic itself: faster ways compute some rows of padding next to it."""
    return dispatch_loop(x_TD, routing, bank.one_expert) + bank.b2_D


@pytest.mark.parametrize("tier", [SMALL, ODD], ids=["small", "odd"])
@pytest.mark.parametrize("patches", [5, 12])
def test_the_operations_are_those_that_torch_counts(tier: Tier, patches: int) -> None:
    built, side = tier.build("cpu"), patches * tier.patch
    for block in built.blocks:
        block.attn.fused_attn = False  # torch does not count the fused kernel of CPUs.
        block.moe.bank.dispatch = without_padding
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(torch.randn(2, 3, side, side))
    assert counter.get_total_flops() == 2 * forward_flops(tier, side)


@pytest.mark.parametrize("tier", [SMALL, ODD], ids=["small", "odd"])
def test_the_activations_are_those_that_autograd_keeps(tier: Tier) -> None:
    built = tier.build("cpu")
    own = {value.untyped_storage().data_ptr() for value in built.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        if value.untyped_storage().data_ptr() not in own:
            kept[value.untyped_storage().data_ptr()] = value
        return value

    side = 12 * tier.patch
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        output = built(torch.randn(2, 3, side, side)).final_BND
    assert output.requires_grad
    values = sum(value.untyped_storage().nbytes() for value in kept.values()) / 4
    formula = 2 * tier.tokens(side) * tier.blocks * block_activations(tier)
    assert values == pytest.approx(formula, rel=0.1)


def test_the_memory_adds_up_by_hand() -> None:
    plan = make_plan(SMALL, gpus=4, expert=2, batch=3, arithmetic="bf16")
    memory, counted = plan.memory_bytes_per_gpu, count_parameters(SMALL)
    assert (plan.data, plan.expert, plan.tokens_per_image) == (2, 2, 65)
    shard = counted.experts / 4 + counted.rest / 4 + counted.shared_biases / 2
    assert memory.weights == memory.gradients == pytest.approx(4 * shard, abs=4)
    assert memory.optimiser == 2 * memory.weights
    assert memory.activations == 3 * 65 * 3 * (2 * block_activations(SMALL) + 4 * 96)
    block, outside = numel(SMALL.build().blocks[0]), numel(SMALL.build().stem)
    here = block - 4 * counted.one_expert
    assert memory.gathered == 2 * (3 * here + 2 * outside)
    parts = memory.model_dump()
    assert parts.pop("total") == sum(parts.values())
    assert plan.exchanged_bytes_per_gpu == 3 * 65 * 2 * 96 * 2 * 2 * 3 // 2


def test_recomputation_trades_memory_for_operations() -> None:
    kept, again = (make_plan(Tier(), gpus=64, recompute=value) for value in (False, True))
    assert again.memory_bytes_per_gpu.activations < kept.memory_bytes_per_gpu.activations / 10
    assert again.training_flops_per_image * 3 == kept.training_flops_per_image * 4


@pytest.mark.parametrize(
    ("gpus", "mesh"), [(1, (1, 1)), (8, (1, 8)), (12, (3, 4)), (64, (8, 8)), (7, (7, 1))]
)
def test_the_expert_axis_is_chosen_within_a_machine(gpus: int, mesh: tuple[int, int]) -> None:
    plan = make_plan(Tier(), gpus=gpus)
    assert (plan.data, plan.expert) == mesh


@pytest.mark.parametrize(
    "changes", [{"expert": 3}, {"expert": 32}, {"image_size": 100}, {"batch": 0}, {"gpus": 0}]
)
def test_what_does_not_fit_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        make_plan(Tier(), **{"gpus": 64, **changes})


@pytest.mark.parametrize(
    "sizes", [{"width": 100}, {"top_k": 17}, {"image_size": 225}, {"blocks": 0}, {"depth": 12}]
)
def test_sizes_that_do_not_fit_together_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Tier(**sizes)


def test_the_twin_has_the_depth_and_the_experts_of_the_base_tier() -> None:
    base, twin = Tier(), Tier().twin()
    assert (twin.blocks, twin.experts, twin.top_k) == (base.blocks, base.experts, base.top_k)
    assert twin.hidden / twin.width == base.hidden / base.width
    assert count_parameters(twin).total < 1e7
