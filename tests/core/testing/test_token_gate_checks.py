"""Each check of token gates passes a good one and fails one that is broken in just that way."""

import pytest
import torch

import moekit
from moekit import TokenGateSpec
from moekit.moe.learned_token_gate import LearnedTokenGate
from moekit.testing import ConformanceError, NotApplicable, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS


class Good:
    """The texture of the picture."""

    def __init__(self, width):
        self.texture = moekit.TextureTokenGate()

    def __call__(self, patch_BPD, grid, *, picture):
        return self.texture(patch_BPD, grid, picture=picture)


def changed(change):
    """A gate whose scores are those of a function of good ones, the tokens and the picture."""

    class Changed(Good):
        def __call__(self, patch_BPD, grid, *, picture):
            scores_BP = super().__call__(patch_BPD, grid, picture=picture)
            return change(scores_BP, patch_BPD, picture)

    return Changed


class Forgetful(LearnedTokenGate):
    """Some of its weights have no part in the scores."""

    def __init__(self, width):
        super().__init__(width)
        self.unused = torch.nn.Linear(width, 1)


GOOD = {"can-learn": (LearnedTokenGate, True)}
BROKEN = {
    "is-described": (Good, False),
    "gives-a-score-a-patch": (changed(lambda scores, *_: scores[:, :1]), False),
    "takes-an-empty-picture": (changed(lambda scores, *_: scores / scores.sum()), False),
    "keeps-images-apart": (changed(lambda scores, *_: scores - scores.mean()), False),
    "repeats-itself": (changed(lambda scores, *_: scores + torch.rand(scores.shape)), False),
    "leaves-its-inputs-alone": (changed(lambda scores, patch, _: scores + patch.mul_(2).sum(2)), 0),
    "can-learn": (Forgetful, True),
}


def spec(build, learned, **changes):
    facts = {"name": "specimen", "summary": "-", "source": "the tests", **changes}
    return TokenGateSpec(build=build, learned=bool(learned), **facts)


@pytest.mark.parametrize("name", CHECKS["token-gate"])
def test_a_good_token_gate_passes(name, run_check):
    run_check("token-gate", name, spec(*GOOD.get(name, (Good, False))))


@pytest.mark.parametrize("name", CHECKS["token-gate"])
def test_a_broken_token_gate_fails_the_check_that_it_breaks(name, run_check):
    changes = {"source": " "} if name == "is-described" else {}
    with pytest.raises(ConformanceError):
        run_check("token-gate", name, spec(*BROKEN[name], **changes))


def test_a_gate_that_learns_nothing_is_not_asked_to(run_check):
    with pytest.raises(NotApplicable):
        run_check("token-gate", "can-learn", spec(Good, False))


def test_a_learned_gate_without_weights_fails(run_check):
    with pytest.raises(ConformanceError, match="module with weights"):
        run_check("token-gate", "can-learn", spec(Good, True))
