"""Ways to carve: how neurons are grouped, how tokens are routed, what stands in for the rest.

Shapes: T tokens, D width, F hidden neurons, E experts, A features of a neuron.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from moekit.backbone.sparse.cluster import balanced_assignment, balanced_clusters
from moekit.backbone.sparse.neurons import Excess, Neurons
from moekit.backbone.sparse.regression import Regression
from moekit.errors import UsageError

_CLUSTER_TOKENS = 6000
_ROUTER_RIDGE = 1e-4
_ALWAYS = 1e4  # beyond any score, and still exact in float16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A way to carve.

    Attributes:
        name: What `--method` takes.
        group: Features by which neurons are clustered: `weights` (rows of the first layer),
            `marks` (whether a neuron is among a token's strongest), or `excess` (how much it adds
            beyond its stand-in).
        router: `activation` (regression of the sum of positive activations), `representative` (the
            row of each expert's most typical neuron), or `energy` (regression of the length of what
            an expert adds).
        stand_in: `none`, `mean` or `linear`, see `excess_over`.
        shared: Experts that every token has, made of the neurons active most often.
        correct: Whether a low-rank map of the input makes up for the experts left out.
        source: The paper.
    """

    name: str
    group: Literal["weights", "marks", "excess"]
    router: Literal["activation", "representative", "energy"]
    stand_in: Literal["none", "mean", "linear"]
    shared: int
    correct: bool
    source: str


METHODS = {
    method.name: method
    for method in (
        Method(
            name="moefication",
            group="weights",
            router="activation",
            stand_in="none",
            shared=0,
            correct=False,
            source="Zhang et al. 2022, arXiv:2110.01786 (parameter clustering; linear router)",
        ),
        Method(
            name="cmoe",
            group="marks",
            router="representative",
            stand_in="none",
            shared=2,
            correct=False,
            source="Pei et al. 2025, arXiv:2502.04416 (shared and routed experts)",
        ),
        Method(
            name="d2dmoe",
            group="weights",
            router="energy",
            stand_in="none",
            shared=0,
            correct=False,
            source="Szatkowski et al. 2024, arXiv:2310.04361 (router predicts output norms)",
        ),
        Method(
            name="mean",
            group="excess",
            router="energy",
            stand_in="mean",
            shared=0,
            correct=False,
            source="moekit: mean activations of unchosen experts folded into the bias",
        ),
        Method(
            name="linear",
            group="excess",
            router="energy",
            stand_in="linear",
            shared=0,
            correct=True,
            source="moekit: an affine stand-in for each neuron, folded into one matrix",
        ),
    )
}


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
        UsageError: There is none.
    """
    if name not in METHODS:
        raise UsageError(
            f"there is no way to carve named {name!r}",
            whose="--method",
            fix=f"choose one of {', '.join(METHODS)}",
            code="usage/unknown-name",
        )
    return METHODS[name]


def group_neurons(
    method: Method, neurons: Neurons, x_TD: Tensor, excess: Excess, experts: int
) -> Tensor:
    """(F,) int64: the expert of each neuron; shared experts come first."""
    if method.group == "weights":
        return balanced_clusters(neurons.w1_FD, clusters=experts)
    if method.group == "excess":
        size_TF = excess.excess_TF[:_CLUSTER_TOKENS].abs() * neurons.reach_F
        return balanced_clusters((size_TF - size_TF.mean(0)).T, clusters=experts)
    return _by_marks(method, neurons, x_TD[:_CLUSTER_TOKENS], experts)


def _by_marks(method: Method, neurons: Neurons, x_TD: Tensor, experts: int) -> Tensor:
    """CMoE: the most often active neurons are shared, the others clustered by their marks."""
    marks_FT = _marks_TF(neurons, x_TD).T
    places = len(marks_FT) // experts
    shared = places * method.shared
    often_F = marks_FT.mean(1).argsort(descending=True, stable=True)
    cluster_F = torch.empty(len(marks_FT), dtype=torch.int64)
    cluster_F[often_F[:shared]] = torch.arange(shared) // places
    routed_F = often_F[shared:]
    centres_ET = marks_FT[routed_F[: experts - method.shared]]
    for _ in range(6):
        distance_FE = torch.cdist(marks_FT[routed_F], centres_ET)
        found_F = balanced_assignment(-distance_FE)
        centres_ET = torch.stack(
            [marks_FT[routed_F[found_F == e]].mean(0) for e in range(experts - method.shared)]
        )
    cluster_F[routed_F] = found_F + method.shared
    return cluster_F


def _marks_TF(neurons: Neurons, x_TD: Tensor) -> Tensor:
    """(T, F) 1 if a neuron is among the strongest tenth of a token's, else 0."""
    size_TF = neurons.activation(neurons.before(x_TD)).abs()
    strongest = size_TF.topk(max(1, size_TF.shape[1] // 10), dim=1).indices
    return torch.zeros_like(size_TF).scatter(1, strongest, 1.0)


def route(
    method: Method, neurons: Neurons, x_TD: Tensor, excess: Excess, cluster_F: Tensor, experts: int
) -> tuple[Tensor, Tensor]:
    """The router of a grouping.

    Returns:
        (E, D) rows, and (E,) what is added for the choice.
    """
    if method.router == "representative":
        rows_ED, choice_E = _representatives(neurons, x_TD, cluster_F, experts)
    else:
        fit = Regression(x_TD.shape[1], experts)
        fit.add(x_TD, _targets_TE(method, neurons, x_TD, excess, cluster_F, experts))
        rows_ED, choice_E = fit.solve(_ROUTER_RIDGE)
    choice_E = choice_E.clone()
    choice_E[: method.shared] = _ALWAYS
    return rows_ED, choice_E


def _targets_TE(
    method: Method, neurons: Neurons, x_TD: Tensor, excess: Excess, cluster_F: Tensor, experts: int
) -> Tensor:
    if method.router == "energy":
        return excess.energies_TE(neurons, cluster_F, experts)
    after_TF = neurons.activation(neurons.before(x_TD)).clamp_min(0)
    return after_TF.new_zeros(len(x_TD), experts).index_add(1, cluster_F, after_TF)


def _representatives(
    neurons: Neurons, x_TD: Tensor, cluster_F: Tensor, experts: int
) -> tuple[Tensor, Tensor]:
    """The first-layer row and bias of the neuron nearest to its cluster's mean marks."""
    marks_FT = _marks_TF(neurons, x_TD[:_CLUSTER_TOKENS]).T
    chosen = []
    for expert in range(experts):
        mine = (cluster_F == expert).nonzero()[:, 0]
        centre_1T = marks_FT[mine].mean(0, keepdim=True)
        chosen.append(mine[torch.cdist(marks_FT[mine], centre_1T)[:, 0].argmin()])
    index_E = torch.stack(chosen)
    return neurons.w1_FD[index_E].clone(), neurons.b1_F[index_E].clone()
