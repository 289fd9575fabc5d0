"""Dispatch without gradients: groups, padding, parts, kept weights, memory that is used again."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from moekit import Routing, UnitTopK
from moekit.moe import batched
from moekit.moe.batched import (
    RULES,
    dispatch_batched,
    group_experts,
    pays_grouped,
    round_rows,
    slack_rows,
)
from moekit.moe.dispatch import dispatch_loop, run_bank
from moekit.moe.experts import ExpertBank

T, D, E, H = 40, 32, 4, 16


@pytest.fixture
def bank(generator: torch.Generator) -> ExpertBank:
    made = ExpertBank(
        w1_EHD=torch.randn(E, H, D, generator=generator) / D**0.5,
        b1_EH=torch.randn(E, H, generator=generator),
        w2_EHD=torch.randn(E, H, D, generator=generator) / D**0.5,
        b2_D=torch.randn(D, generator=generator),
        activation=nn.GELU(),
    )
    return made.requires_grad_(False)


@pytest.fixture
def x_TD(generator: torch.Generator) -> Tensor:
    return torch.randn(T, D, generator=generator)


@pytest.fixture
def routing(generator: torch.Generator) -> Routing:
    return UnitTopK()(torch.randn(1, T, E, generator=generator), k=2)


def loop(x_TD: Tensor, routing: Routing, bank: ExpertBank) -> Tensor:
    return dispatch_loop(x_TD, routing, bank.one_expert) + bank.b2_D


@pytest.mark.parametrize("slack", [0, 5, 10**6])
@pytest.mark.parametrize("most", [1, 60, 10**6])
@pytest.mark.parametrize("sizes", [[7], [0, 0, 0], [3, 9, 0, 50, 49, 48], [10, 10, 10, 10]])
def test_groups_hold_each_expert_once_in_order_and_have_rows_for_all(
    sizes: list[int], most: int, slack: int
) -> None:
    groups = list(group_experts(sizes, slack=slack, most=most))
    assert [expert for group in groups for expert in group.experts] == list(range(len(sizes)))
    for group in groups:
        assert group.rows == max(sizes[expert] for expert in group.experts)
        assert len(group.experts) == 1 or len(group.experts) * group.rows <= most


def test_without_slack_only_experts_of_equal_load_are_joined() -> None:
    groups = list(group_experts([10, 10, 10, 11, 3], slack=0, most=100))
    assert [list(group.experts) for group in groups] == [[0, 1, 2], [3], [4]]


def test_slack_joins_as_long_as_padding_is_cheap() -> None:
    groups = list(group_experts([10, 11, 3], slack=1, most=100))
    assert [(list(group.experts), group.rows) for group in groups] == [([0, 1], 11), ([2], 3)]


def test_rounded_rows_are_few_and_near() -> None:
    rounded = [round_rows(rows) for rows in range(4097)]
    assert all(rows <= to <= max(rows + 7, rows * 17 // 16) for rows, to in enumerate(rounded))
    assert len(set(rounded)) < 120


def test_starting_a_product_costs_more_rows_where_rows_are_cheap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batched, "instruction_set", lambda: "plain")
    assert slack_rows(torch.bfloat16, 1) == slack_rows(torch.float32, 1)
    monkeypatch.setattr(batched, "instruction_set", lambda: "bf16")
    assert slack_rows(torch.bfloat16, 1) > slack_rows(torch.float32, 1)
    assert slack_rows(torch.float32, 2) > slack_rows(torch.float32, 1)


@pytest.mark.parametrize(
    ("dtype", "slack", "grouped"),
    [
        (torch.float32, 0, False),
        (torch.float32, 10**6, False),
        (torch.float32, 0, True),
        (torch.float64, 0, False),
    ],
)
def test_joined_or_not_the_result_is_that_of_the_loop(
    dtype: torch.dtype,
    slack: int,
    grouped: bool,
    monkeypatch: pytest.MonkeyPatch,
    x_TD: Tensor,
    routing: Routing,
    bank: ExpertBank,
) -> None:
    monkeypatch.setattr(batched, "slack_rows", lambda *_: slack)
    monkeypatch.setattr(batched, "pays_grouped", lambda *_: grouped)
    found = dispatch_batched(x_TD, routing, bank, dtype=dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), loop(x_TD, routing, bank))


def test_grouped_products_are_used_where_they_start_cheaply_and_take_the_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for instructions in ("bf16", "plain"):
        monkeypatch.setattr(batched, "instruction_set", lambda found=instructions: found)
        assert pays_grouped(384, 96, torch.float32, 1)
        assert pays_grouped(384, 96, torch.bfloat16, 1) is (instructions == "plain")
    assert not pays_grouped(384, 96, torch.float32, 2)
    assert not pays_grouped(30, 96, torch.float32, 1)


def test_in_bfloat16_the_rules_of_either_instruction_set_agree_to_rounding(
    monkeypatch: pytest.MonkeyPatch, x_TD: Tensor, routing: Routing, bank: ExpertBank
) -> None:
    found = []
    for instructions in RULES:
        monkeypatch.setattr(batched, "instruction_set", lambda found=instructions: found)
        found.append(dispatch_batched(x_TD, routing, bank, dtype=torch.bfloat16).float())
    scale = float(loop(x_TD, routing, bank).abs().max())
    for one in found:
        torch.testing.assert_close(one, loop(x_TD, routing, bank), rtol=0, atol=0.02 * scale)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_token_that_is_not_a_number_spoils_itself_alone(
    grouped: bool, monkeypatch: pytest.MonkeyPatch, x_TD: Tensor, routing: Routing, bank: ExpertBank
) -> None:
    monkeypatch.setattr(batched, "pays_grouped", lambda *_: grouped)
    clean = run_bank(x_TD, routing, bank)
    x_TD[0] = torch.nan
    spoiled = run_bank(x_TD, routing, bank)
    assert spoiled[0].isnan().all()
    torch.testing.assert_close(spoiled[1:], clean[1:])


def test_many_tokens_are_computed_in_parts(
    monkeypatch: pytest.MonkeyPatch, x_TD: Tensor, routing: Routing, bank: ExpertBank
) -> None:
    whole = run_bank(x_TD, routing, bank)
    monkeypatch.setattr(batched, "_MOST_BYTES", 2 * D * 4 * 7)
    assert len(list(routing.parts(7))) == 6
    torch.testing.assert_close(run_bank(x_TD, routing, bank), whole)


@pytest.mark.parametrize("count", [0, 1, 256])
def test_any_number_of_tokens_is_computed(
    count: int, generator: torch.Generator, bank: ExpertBank
) -> None:
    x_TD = torch.randn(count, D, generator=generator)
    routing = UnitTopK()(torch.randn(1, count, E, generator=generator), k=2)
    found = run_bank(x_TD, routing, bank)
    assert found.shape == (count, D)
    torch.testing.assert_close(found, loop(x_TD, routing, bank))


def test_under_autocast_products_are_in_its_dtype(
    x_TD: Tensor, routing: Routing, bank: ExpertBank
) -> None:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = run_bank(x_TD, routing, bank)
        dense = bank.all_experts(x_TD)
    assert found.dtype == dense.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), loop(x_TD, routing, bank), rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("fresh_bytes", [0, 2**24])
def test_results_do_not_share_memory_with_later_calls(
    fresh_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
    x_TD: Tensor,
    routing: Routing,
    bank: ExpertBank,
) -> None:
    monkeypatch.setattr(batched, "_FRESH_BYTES", fresh_bytes)
    first = run_bank(x_TD, routing, bank)
    kept = first.clone()
    run_bank(-x_TD, routing, bank)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("modes", [(True, False), (False, True)])
def test_kept_memory_serves_every_mode(
    modes: tuple[bool, bool],
    monkeypatch: pytest.MonkeyPatch,
    x_TD: Tensor,
    routing: Routing,
    bank: ExpertBank,
) -> None:
    monkeypatch.setattr(batched, "_FRESH_BYTES", 0)
    results: list[Tensor] = []

    def compute() -> None:  # in a thread of its own, which has kept nothing yet
        for mode in modes:
            with torch.inference_mode(mode):
                results.append(run_bank(x_TD, routing, bank).clone())

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert torch.equal(*results)


def test_converted_weights_are_kept_until_one_changes(bank: ExpertBank) -> None:
    first = bank.weights_in(torch.bfloat16)
    assert bank.weights_in(torch.bfloat16) is first
    with torch.no_grad():
        bank.b2_D.add_(1)
    second = bank.weights_in(torch.bfloat16)
    assert torch.equal(second.b2_D, bank.b2_D.bfloat16())
    bank.load_state_dict({name: value + 1 for name, value in bank.state_dict().items()})
    assert torch.equal(bank.weights_in(torch.bfloat16).w1_EHD, bank.w1_EHD.bfloat16())
    state = {name: value + 1 for name, value in bank.state_dict().items()}
    bank.load_state_dict(state, assign=True)
    assert torch.equal(bank.weights_in(torch.bfloat16).w1_EHD, bank.w1_EHD.bfloat16())


def test_weights_that_are_trained_are_not_kept(bank: ExpertBank) -> None:
    bank.requires_grad_(True)
    assert bank.weights_in(torch.bfloat16) is not bank.weights_in(torch.bfloat16)


def test_weights_of_the_same_dtype_are_no_copies(bank: ExpertBank) -> None:
    assert bank.weights_in(torch.float32).w1_EHD is bank.w1_EHD
