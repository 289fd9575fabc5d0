"""Each check of gates passes the gates of moekit and fails one that is broken in just that way."""

import dataclasses

import pytest
import torch

import moekit
from moekit import GateSpec, Routing
from moekit.testing import ConformanceError, NotApplicable, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS


class Good(moekit.TopKSoftmax):
    pass


def changed(**changes):
    """A gate whose routing is changed: `changes` maps fields to functions of the routing."""

    class Changed:
        unit_weights = False

        def __call__(self, scores_BNE, *, k, bias_E=None):
            routing = Good()(scores_BNE, k=k, bias_E=bias_E)
            return dataclasses.replace(
                routing, **{name: change(routing) for name, change in changes.items()}
            )

    return Changed


class Unmarked:
    __call__ = Good.__call__


class TooMany:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        return Good()(scores_BNE, k=min(k + 1, scores_BNE.shape[2]), bias_E=bias_E)


class FirstExperts:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        return moekit.TopKSoftmax()(
            scores_BNE, k=k, bias_E=torch.linspace(9, 0, scores_BNE.shape[2])
        )


class ByPosition:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        position = torch.linspace(0.5, 2, scores_BNE.shape[1])[None, :, None]
        return Good()(scores_BNE * position, k=k, bias_E=bias_E)


class Together:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        return Good()(scores_BNE / scores_BNE.std(0, unbiased=False).mean().add(1), k=k)


class NeedsCompany:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        return Good()(scores_BNE / scores_BNE.std(1, keepdim=True), k=k, bias_E=bias_E)


class Overflows:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        routing = Good()(scores_BNE, k=k)
        power_TE = scores_BNE.flatten(0, 1).exp()
        weight_P = power_TE[routing.token_P, routing.expert_P]
        return dataclasses.replace(routing, weight_P=weight_P)


class Random:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        return Good()(scores_BNE + torch.rand(scores_BNE.shape), k=k)


class InPlace:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        scores_BNE.add_(1)
        return Good()(scores_BNE, k=k)


class WeighsTheBias:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        routing = Good()(scores_BNE, k=k)
        if bias_E is None:
            return routing
        weight_P = routing.weight_P + bias_E[routing.expert_P]
        return dataclasses.replace(routing, weight_P=weight_P)


BROKEN = {
    "is-described": Unmarked,
    "gives-sound-pairs": changed(token_P=lambda r: r.token_P.clamp(max=1)),
    "weighs-as-it-says": changed(weight_P=lambda r: r.weight_P * 2),
    "chooses-as-many-as-it-says": TooMany,
    "follows-a-permutation-of-experts": FirstExperts,
    "follows-a-permutation-of-tokens": ByPosition,
    "keeps-images-apart": Together,
    "takes-a-single-token": NeedsCompany,
    "stands-extreme-scores": Overflows,
    "repeats-itself": Random,
    "leaves-the-scores-alone": InPlace,
    "takes-a-balancing-bias": WeighsTheBias,
    "lets-the-router-learn": changed(weight_P=lambda r: r.weight_P.detach()),
}


def spec(build, **changes):
    return GateSpec(name="specimen", build=build, summary="-", source="the tests", **changes)


@pytest.mark.parametrize("name", CHECKS["gate"])
def test_a_good_gate_passes(name, run_check):
    run_check("gate", name, spec(Good))


@pytest.mark.parametrize("name", CHECKS["gate"])
def test_a_broken_gate_fails_the_check_that_it_breaks(name, run_check):
    with pytest.raises(ConformanceError):
        run_check("gate", name, spec(BROKEN[name]))


def test_weights_of_one_have_nothing_to_learn(run_check):
    with pytest.raises(NotApplicable):
        run_check("gate", "lets-the-router-learn", spec(moekit.UnitTopK, weights="unit"))


@pytest.mark.parametrize(
    ("count", "build"), [("at_most", TooMany), ("mean", changed(token_P=lambda r: r.token_P[:1]))]
)
def test_a_gate_that_declares_another_count_is_held_to_it(count, build, run_check):
    with pytest.raises(ConformanceError):
        run_check("gate", "chooses-as-many-as-it-says", spec(build, count=count))


def test_what_returns_no_routing_is_refused(run_check):
    class Wrong:
        unit_weights = False

        def __call__(self, scores_BNE, *, k, bias_E=None):
            return scores_BNE

    with pytest.raises(ConformanceError, match=Routing.__name__):
        run_check("gate", "gives-sound-pairs", spec(Wrong))
