"""Clusters, regressions, stand-ins and forms: what carving is made of.

Shapes: T tokens, D width, F neurons, E experts.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from moekit.backbone.sparse.cluster import balanced_clusters, order_of
from moekit.backbone.sparse.form import BlockForm, SparseForm, load_form, save_form
from moekit.backbone.sparse.methods import METHODS
from moekit.backbone.sparse.neurons import Neurons, excess_over
from moekit.backbone.sparse.partition import carve_block
from moekit.backbone.sparse.regression import Regression
from moekit.files import write_tensors
from moekit.testing import refused

EXPERTS = 8


def same_partition(first_F: Tensor, second_F: Tensor) -> bool:
    pairs = set(zip(first_F.tolist(), second_F.tolist(), strict=True))
    return len(pairs) == len(set(first_F.tolist())) == len(set(second_F.tolist()))


def carved(
    name: str, neurons: Neurons, x_TD: Tensor, *, top_k: int = 2, rank: int = 8
) -> BlockForm:
    return carve_block(METHODS[name], neurons, x_TD, experts=EXPERTS, top_k=top_k, rank=rank)


def output_at(form: BlockForm, neurons: Neurons, x_TD: Tensor, top_k: int) -> Tensor:
    """What the layer computes, written out neuron by neuron."""
    expert_F = torch.empty_like(form.order_F)
    expert_F[form.order_F] = torch.arange(len(form.order_F)) // (len(form.order_F) // EXPERTS)
    scores_TE = x_TD @ form.router_ED.T + form.choice_E
    chosen_TE = torch.zeros_like(scores_TE).scatter(1, scores_TE.topk(top_k, 1).indices, 1.0)
    before_TF = neurons.before(x_TD)
    stand_in_TF = form.slope_F * before_TF + form.offset_F
    mask_TF = chosen_TE[:, expert_F]
    active_TF = mask_TF * neurons.activation(before_TF) + (1 - mask_TF) * stand_in_TF
    correction_TD = x_TD @ form.down_RD.T @ form.up_DR.T + form.bias_D
    return active_TF @ neurons.w2_FD + form.strength_E[top_k - 1] * correction_TD


def lost(form: BlockForm, neurons: Neurons, x_TD: Tensor, top_k: int = 2) -> float:
    """Share of the output's variance that is lost."""
    true_TD = neurons.activation(neurons.before(x_TD)) @ neurons.w2_FD
    error_TD = output_at(form, neurons, x_TD, top_k) - true_TD
    return float(error_TD.square().sum() / (true_TD - true_TD.mean(0)).square().sum())


def test_balanced_clusters_find_groups_and_give_each_the_same_size(
    neurons: Neurons, group_F: Tensor
) -> None:
    cluster_F = balanced_clusters(neurons.w1_FD, clusters=EXPERTS)
    assert cluster_F.bincount().tolist() == [8] * EXPERTS
    assert same_partition(cluster_F, group_F)


def test_the_order_of_clusters_keeps_each_together(group_F: Tensor) -> None:
    ordered = group_F[order_of(group_F)]
    assert torch.equal(ordered, ordered.sort().values)


def test_a_regression_from_batches_is_the_least_squares_solution(tokens_TD: Tensor) -> None:
    map_OD = torch.randn(5, tokens_TD.shape[1])
    targets_TO = tokens_TD @ map_OD.T + 3 + 0.1 * torch.randn(len(tokens_TD), 5)
    fit = Regression(tokens_TD.shape[1], 5)
    for x_TD, y_TO in zip(tokens_TD.split(300), targets_TO.split(300), strict=True):
        fit.add(x_TD, y_TO)
    weights_OD, bias_O = fit.solve(0.0)
    ones = torch.ones(len(tokens_TD), 1)
    expected = torch.linalg.lstsq(torch.cat([tokens_TD, ones], 1), targets_TO).solution
    assert torch.allclose(weights_OD.T, expected[:-1], atol=1e-4)
    assert torch.allclose(bias_O, expected[-1], atol=1e-4)
    exact = fit.error(weights_OD, bias_O)
    assert exact < fit.error(weights_OD * 1.01, bias_O)
    residual = (tokens_TD @ weights_OD.T + bias_O - targets_TO).square().sum()
    assert exact + float(targets_TO.square().sum()) == pytest.approx(float(residual), rel=1e-3)


def test_the_low_rank_map_beats_truncation_on_stretched_inputs(tokens_TD: Tensor) -> None:
    stretched_TD = tokens_TD * torch.linspace(0.1, 5, tokens_TD.shape[1])
    map_DD = torch.randn(24, 24, generator=torch.Generator().manual_seed(2))
    fit = Regression(24, 24)
    fit.add(stretched_TD, stretched_TD @ map_DD.T)
    first_RD, second_DR = fit.low_rank(map_DD, 6)
    left, values, right = torch.linalg.svd(map_DD)
    plain_DD = left[:, :6] @ torch.diag(values[:6]) @ right[:6]
    error = {
        name: float((stretched_TD @ (found - map_DD).T).square().sum())
        for name, found in {"ours": second_DR @ first_RD, "plain": plain_DD}.items()
    }
    assert error["ours"] < 0.8 * error["plain"]
    whole = fit.low_rank(map_DD, 24)
    assert torch.allclose(whole[1] @ whole[0], map_DD, atol=1e-3)


def test_a_linear_stand_in_leaves_less_than_a_mean_and_that_less_than_nothing(
    neurons: Neurons, tokens_TD: Tensor
) -> None:
    size = {
        kind: float(excess_over(kind, neurons, tokens_TD).excess_TF.square().sum())
        for kind in ("none", "mean", "linear")
    }
    assert size["linear"] < 0.7 * size["mean"] < 0.7 * size["none"]


def test_stand_ins_together_are_one_affine_map(neurons: Neurons, tokens_TD: Tensor) -> None:
    excess = excess_over("linear", neurons, tokens_TD)
    weights_DD, bias_D = neurons.stand_in(excess.slope_F, excess.offset_F)
    each_TF = excess.slope_F * neurons.before(tokens_TD) + excess.offset_F
    expected = each_TF @ neurons.w2_FD
    assert torch.allclose(tokens_TD @ weights_DD.T + bias_D, expected, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_orders_all_neurons_and_is_exact_with_all_experts(
    name: str, neurons: Neurons, tokens_TD: Tensor
) -> None:
    form = carved(name, neurons, tokens_TD)
    assert torch.equal(form.order_F.sort().values, torch.arange(64))
    assert lost(form, neurons, tokens_TD, top_k=EXPERTS) < 1e-9
    assert lost(form, neurons, tokens_TD, top_k=2) > 1e-3


def test_a_linear_stand_in_with_its_correction_loses_less_than_a_mean(
    neurons: Neurons, tokens_TD: Tensor
) -> None:
    seen_TD, unseen_TD = tokens_TD[:1500], tokens_TD[1500:]
    linear = lost(carved("linear", neurons, seen_TD), neurons, unseen_TD)
    assert linear < 0.8 * lost(carved("mean", neurons, seen_TD), neurons, unseen_TD)
    without = lost(carved("linear", neurons, seen_TD, rank=0), neurons, unseen_TD)
    assert linear < without


def test_the_correction_fades_as_more_experts_run(neurons: Neurons, tokens_TD: Tensor) -> None:
    strength_E = carved("linear", neurons, tokens_TD, rank=24).strength_E
    assert strength_E[1] == pytest.approx(1, abs=0.05)
    assert strength_E[1] > strength_E[4] > strength_E[6] > strength_E[7] == 0


def test_shared_experts_are_chosen_by_every_token(neurons: Neurons, tokens_TD: Tensor) -> None:
    form = carved("cmoe", neurons, tokens_TD)
    scores_TE = tokens_TD @ form.router_ED.T + form.choice_E
    assert set(scores_TE.topk(2, 1).indices.flatten().tolist()) == {0, 1}


def whole_form(neurons: Neurons, tokens_TD: Tensor) -> SparseForm:
    blocks = tuple(carved(name, neurons, tokens_TD) for name in ("linear", "linear"))
    return SparseForm(
        blocks=blocks, architecture="small", dense_sha256="ab" * 32, facts={"top_k": 2}
    )


def test_a_form_comes_back_from_its_file(
    neurons: Neurons, tokens_TD: Tensor, tmp_path: Path
) -> None:
    form = whole_form(neurons, tokens_TD)
    save_form(form, tmp_path / "form.safetensors")
    found = load_form(tmp_path / "form.safetensors")
    assert found.facts == form.facts
    assert found.dense_sha256 == form.dense_sha256
    assert len(found.sha256) == 64
    for ours, theirs in zip(found.blocks, form.blocks, strict=True):
        assert torch.equal(ours.order_F, theirs.order_F)
        assert torch.allclose(ours.router_ED, theirs.router_ED, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("0.order_F", torch.zeros(64, dtype=torch.int16)),
        ("0.slope_F", torch.zeros(63)),
        ("1.up_DR", torch.full((24, 8), float("nan"))),
        ("2.order_F", torch.zeros(64, dtype=torch.int16)),
    ],
)
def test_a_damaged_form_is_refused_by_name(
    name: str, value: Tensor, neurons: Neurons, tokens_TD: Tensor, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    path = tmp_path / "form.safetensors"
    save_form(whole_form(neurons, tokens_TD), path)
    header = {
        "format": "moekit-sparse-form-1",
        "architecture": "small",
        "dense_sha256": "ab" * 32,
        "facts": "{}",
    }
    write_tensors(path, {**load_file(path), name: value}, header=header)
    with refused("weights/damaged", match=r"form\.safetensors"):
        load_form(path)


def test_other_files_are_no_forms(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    write_tensors(path, {"a": nn.Parameter(torch.zeros(2)).detach()})
    with refused("weights/damaged"):
        load_form(path)
    path.write_bytes(b"no")
    with refused("weights/damaged", match=r"other\.safetensors"):
        load_form(path)
    with refused("weights/damaged", match="absent"):
        load_form(tmp_path / "absent.safetensors")
