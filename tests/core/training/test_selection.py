"""What answers is decided by a paired rule: the specialist, unless another is proven better."""

import dataclasses

import numpy as np
import pytest

from moekit.plugins.resolve import Resolved
from moekit.tasks.score import SCORE
from moekit.tasks.score.metrics import METRICS
from moekit.tasks.score.predictions import Predictions
from moekit.training.selection import select

AUROC = tuple(metric for metric in METRICS if metric.name == "auroc")


def tally(scores, labels):
    return Predictions(
        ids=tuple(str(row) for row in range(len(labels))), labels=labels, scores=scores
    )


def models(strengths, n=200, seed=0):
    """The tallies of three models, each of which sees a part of the truth."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    noise = generator.random(n)
    return [
        tally(np.clip(strength * labels + noise * (1 - strength), 0, 1), labels)
        for strength in strengths
    ]


@pytest.fixture
def resolved(kit):
    return Resolved(kit=kit, task=SCORE, metrics=AUROC)


@pytest.mark.parametrize(
    ("strengths", "model"),
    [
        ((0.5, 0.2, 0.3), "specialist"),
        ((0.2, 0.5, 0.3), "baseline"),
        ((0.2, 0.2, 0.5), "mean"),
        ((0.1, 0.25, 0.5), "mean"),
        ((0.3, 0.3, 0.3), "specialist"),
    ],
)
def test_the_model_that_is_proven_better_answers(resolved, strengths, model):
    found = select(resolved, models(strengths), rule="accuracy")
    assert found["model"] == model
    assert found["metric"] == "auroc"
    assert found["n"] == 200
    assert set(found["values"]) == {"specialist", "baseline", "mean"}
    low, high = found["differences"]["baseline"]["ci95"]
    assert low <= found["differences"]["baseline"]["difference"] <= high


def test_one_that_is_ahead_by_chance_does_not_answer_and_is_named(resolved):
    specialist, baseline, _ = models((0.3, 0.31, 0.3), n=20)
    found = select(resolved, [specialist, baseline, specialist], rule="accuracy")
    if found["values"]["baseline"]["value"] > found["values"]["specialist"]["value"]:
        assert "the baseline, which is not proven" in found["in_words"]
    assert found["model"] == "specialist"


def test_few_items_prove_nothing_however_clear_they_look(resolved):
    few, enough = (select(resolved, models((0.05, 0.6, 0.6), n=n), rule="f1") for n in (30, 60))
    low, _ = few["differences"]["baseline"]["ci95"]
    assert low > 0
    assert few["model"] == "specialist"
    assert enough["model"] == "baseline"


def test_where_the_headline_is_not_defined_nothing_is_compared(resolved):
    negatives = [
        dataclasses.replace(one, labels=np.zeros(200, dtype=int)) for one in models((0.1, 0.5, 0.5))
    ]
    found = select(resolved, negatives, rule="tail=0.02")
    assert found["model"] == "specialist"
    assert "cannot be computed" in found["in_words"]
