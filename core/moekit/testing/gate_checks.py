"""Checks of gates.

Shapes: B images, N tokens, E experts, T = B * N tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moekit.contract.experts import GateSpec
from moekit.moe.gates import Gate
from moekit.moe.routing import Routing
from moekit.testing.check import check
from moekit.testing.inputs import generator
from moekit.testing.subject import Subject
from moekit.testing.verdicts import ConformanceError, NotApplicable, require

IMAGES, TOKENS, EXPERTS = 2, 12, 6
_CHOICES = (1, 2, EXPERTS)
_TOLERANCE = 1e-5


def _spec(subject: Subject, name: str) -> GateSpec:
    spec: GateSpec = subject.record("gates", name)
    return spec


def _gate(subject: Subject, name: str) -> Gate:
    return _spec(subject, name).build()


def _scores(images: int = IMAGES, tokens: int = TOKENS, *, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(images, tokens, EXPERTS, generator=generator())


def _same(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, atol=_TOLERANCE)


@check("gate")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary, a source, and its attribute unit_weights agrees with its record."""
    spec = _spec(subject, name)
    require(bool(spec.summary.strip() and spec.source.strip()), "summary or source is empty")
    unit = getattr(spec.build(), "unit_weights", None)
    require(isinstance(unit, bool), "the gate needs the attribute unit_weights")
    require(unit == (spec.weights == "unit"), f"unit_weights is {unit}, weights {spec.weights!r}")


@check("gate")
def gives_sound_pairs(subject: Subject, name: str) -> None:
    """Tokens and experts are in range, no pair appears twice, no weight is negative or nan."""
    for k in _CHOICES:
        routing = _gate(subject, name)(_scores(), k=k)
        if not isinstance(routing, Routing):
            raise ConformanceError("a gate must return a moekit.Routing")
        require((routing.tokens, routing.experts) == (IMAGES * TOKENS, EXPERTS), "wrong sizes")
        pairs = routing.token_P * EXPERTS + routing.expert_P
        in_range = (routing.token_P >= 0) & (routing.token_P < IMAGES * TOKENS)
        in_range &= (routing.expert_P >= 0) & (routing.expert_P < EXPERTS)
        require(bool(in_range.all()), "a token or an expert is out of range")
        require(len(set(pairs.tolist())) == len(pairs), "a pair appears twice")
        require(bool((routing.weight_P >= 0).all()), "a weight is negative or nan")


@check("gate")
def weighs_as_it_says(subject: Subject, name: str) -> None:
    """The weights are 1, or sum to 1 for each token, as the record declares."""
    spec = _spec(subject, name)
    for k in _CHOICES:
        routing = spec.build()(_scores(), k=k)
        sums_T = routing.weight_TE().sum(1)
        if spec.weights == "unit":
            require(_same(routing.weight_P, torch.ones_like(routing.weight_P)), "not all are 1")
        elif spec.weights == "normalised":
            require(_same(sums_T, torch.ones_like(sums_T)), f"sums are {sums_T.min():.4f} and more")


@check("gate")
def chooses_as_many_as_it_says(subject: Subject, name: str) -> None:
    """Each token gets exactly, at most, or in the mean k experts, as the record declares."""
    spec = _spec(subject, name)
    for k in _CHOICES:
        routing = spec.build()(_scores(), k=k)
        counts_T = torch.bincount(routing.token_P, minlength=IMAGES * TOKENS)
        if spec.count == "exact":
            require(bool((counts_T == k).all()), f"k = {k}, but counts reach {counts_T.max()}")
        elif spec.count == "at_most":
            require(bool((counts_T <= k).all()), f"k = {k}, but a token has {counts_T.max()}")
            require(bool((counts_T >= 1).all()), "a token has no expert")
        else:
            mean = float(counts_T.double().mean())
            require(abs(mean - k) <= 0.25 * k, f"k = {k}, but the mean is {mean:.2f}")


@check("gate")
def follows_a_permutation_of_experts(subject: Subject, name: str) -> None:
    """Experts in another order get the same weights, in that order."""
    order = torch.randperm(EXPERTS, generator=generator(2))
    gate, scores = _gate(subject, name), _scores()
    for k in _CHOICES:
        plain_TE, moved_TE = (gate(s, k=k).weight_TE() for s in (scores, scores[..., order]))
        require(_same(plain_TE[:, order], moved_TE), f"k = {k}: weights depend on the order")


@check("gate")
def follows_a_permutation_of_tokens(subject: Subject, name: str) -> None:
    """Tokens of an image in another order get the same weights, in that order."""
    order = torch.randperm(TOKENS, generator=generator(3))
    gate, scores = _gate(subject, name), _scores(1)
    for k in _CHOICES:
        plain_TE, moved_TE = (gate(s, k=k).weight_TE() for s in (scores, scores[:, order]))
        require(_same(plain_TE[order], moved_TE), f"k = {k}: weights depend on the order")


@check("gate")
def keeps_images_apart(subject: Subject, name: str) -> None:
    """An image is routed alike alone and next to another."""
    gate, scores = _gate(subject, name), _scores()
    for k in _CHOICES:
        together_TE = gate(scores, k=k).weight_TE()
        alone_TE = torch.cat([gate(scores[i : i + 1], k=k).weight_TE() for i in range(IMAGES)])
        require(_same(together_TE, alone_TE), f"k = {k}: one image changes the other's routing")


@check("gate")
def takes_a_single_token(subject: Subject, name: str) -> None:
    """It runs on one image of one token."""
    routing = _gate(subject, name)(_scores(1, 1), k=1)
    require(routing.tokens == 1, f"it sees {routing.tokens} tokens")


@check("gate")
def stands_extreme_scores(subject: Subject, name: str) -> None:
    """Equal scores and scores of ten thousand give finite weights."""
    for scale in (0.0, 1e4):
        routing = _gate(subject, name)(_scores(scale=scale), k=2)
        require(bool(routing.weight_P.isfinite().all()), f"not finite at a scale of {scale:g}")


@check("gate")
def repeats_itself(subject: Subject, name: str) -> None:
    """The same scores give the same routing, to the bit."""
    gate, scores = _gate(subject, name), _scores()
    first, second = (gate(scores, k=2).weight_TE() for _ in range(2))
    require(torch.equal(first, second), "two calls differ")


@check("gate")
def leaves_the_scores_alone(subject: Subject, name: str) -> None:
    """The scores are not changed in place."""
    scores = _scores()
    before = scores.clone()
    _gate(subject, name)(scores, k=2, bias_E=torch.zeros(EXPERTS))
    require(torch.equal(scores, before), "the scores changed")


@check("gate")
def takes_a_balancing_bias(subject: Subject, name: str) -> None:
    """A bias of zero changes nothing, and a bias never makes a weight improper."""
    gate, scores = _gate(subject, name), _scores()
    plain_TE = gate(scores, k=2).weight_TE()
    zero_TE = gate(scores, k=2, bias_E=torch.zeros(EXPERTS)).weight_TE()
    require(_same(plain_TE, zero_TE), "a bias of zero changes the routing")
    bias_E = torch.linspace(-3, 3, EXPERTS)
    biased = gate(scores, k=2, bias_E=bias_E)
    require(bool((biased.weight_P >= 0).all()), "a weight is negative or nan with a bias")


@check("gate")
def lets_the_router_learn(subject: Subject, name: str) -> None:
    """Weights that are not 1 carry a gradient to the scores."""
    spec = _spec(subject, name)
    if spec.weights == "unit":
        raise NotApplicable("weights of 1 carry no gradient")
    scores = _scores().requires_grad_()
    routing = spec.build()(scores, k=2)
    if not routing.weight_P.requires_grad:
        raise ConformanceError("the weights are cut off from the scores")
    factor_P = torch.rand(routing.weight_P.shape, generator=generator(4))
    torch.autograd.backward((routing.weight_P * factor_P).sum())
    require(scores.grad is not None and bool(scores.grad.any()), "the gradient is zero")
