"""Conformal risk control: the missed share of foreground stays below what was asked for."""

import dataclasses

import numpy as np
import pytest
import torch

from moekit.contract.answers import TaskContext
from moekit.data.geometry import Frame
from moekit.data.mask_table import IGNORED
from moekit.tasks.segment.answers import answers
from moekit.tasks.segment.conformal import BIASES, SegmentPoint, choose_bias, missed_counts
from moekit.tasks.segment.enlarge import class_map, lowered
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.storage import load_tallies, save_tallies
from moekit.tasks.segment.tally import SegmentTallier, SegmentTally
from moekit.testing import refused

DRAWS = 200
FRAME = Frame(height=40, width=56)


def tally(seed, pictures, groups=None):
    """Pictures of 100 pixels of foreground whose leads scatter, each picture around its own."""
    generator = np.random.default_rng(seed)
    middle = generator.normal(1, 2, size=pictures)
    margin_NP = middle[:, None] + generator.normal(0, 2, size=(pictures, 100))
    missed_NL = (margin_NP[:, :, None] + BIASES <= 0).sum(1)
    confusion = np.zeros((pictures, 2, 2), dtype=np.int64)
    confusion[:, 0, 0] = 900
    confusion[:, 1, 0], confusion[:, 1, 1] = missed_NL[:, 0], 100 - missed_NL[:, 0]
    return SegmentTally(
        ids=tuple(str(row) for row in range(pictures)),
        classes=("background", "front"),
        background=(0,),
        confusion_NCC=confusion,
        boundary_NC3=np.zeros((pictures, 2, 3), dtype=np.int64),
        predicted_NC=confusion.sum(1),
        ignored_N=np.zeros(pictures, dtype=np.int64),
        groups=groups,
        missed_NL=missed_NL,
    )


@pytest.mark.parametrize(("share", "pictures"), [(0.1, 40), (0.05, 100)])
def test_the_expected_missed_share_of_new_pictures_is_at_most_what_was_asked_for(share, pictures):
    """The mean over 200 draws, less three standard errors, is not above the share."""
    pool = tally(99_999, 4000).missed_NL / 100
    rates = []
    for seed in range(DRAWS):
        chosen = choose_bias_only(tally(seed, pictures), share)
        rates.append(pool[:, np.flatnonzero(chosen == BIASES)[0]].mean())
    error = np.std(rates, ddof=1) / np.sqrt(DRAWS)
    assert np.mean(rates) - 3 * error <= share
    # Nor is everything called foreground: half of what is allowed is used at least.
    assert np.mean(rates) > 0.5 * share


def choose_bias_only(given, share):
    from moekit.tasks.segment.conformal import _controlled

    return _controlled(given, f"conformal-miss={share}", share).bias


def test_the_point_states_its_promise_and_has_an_interval():
    point = choose_bias(tally(0, 60), "conformal-miss=0.1")
    assert (60 * point.value + 1) / 61 <= 0.1
    assert point.ci95[0] <= point.bias <= point.ci95[1]
    assert point.ci95[0] < point.ci95[1]
    made = point.as_json()
    assert (made["at_most"], made["n"], made["unit"]) == (0.1, 60, "picture")
    assert "exchangeable" in made["assumption"]
    assert any("conformal risk control" in sentence for sentence in point.in_words())
    assert choose_bias(tally(0, 60), "") is None


def test_pictures_of_a_group_are_one_draw():
    groups = tuple(str(row // 4) for row in range(80))
    point = choose_bias(tally(0, 80, groups), "conformal-miss=0.2")
    assert (point.unit, point.n) == ("group", 20)


def test_too_few_pictures_are_refused_with_the_number_that_does():
    with refused("data/too-few", match="at least 19"):
        choose_bias(tally(0, 18), "conformal-miss=0.05")
    assert choose_bias(tally(0, 40), "conformal-miss=0.05").n == 40


def test_a_run_that_did_not_count_and_an_unknown_rule_are_refused():
    given = tally(0, 40)
    with refused("data/no-tallies"):
        choose_bias(dataclasses.replace(given, missed_NL=None), "conformal-miss=0.1")
    for rule in ("conformal-miss", "conformal-miss=0", "max-miss=0.1", "accuracy"):
        with refused("usage/unknown-rule"):
            choose_bias(given, rule)
    hopeless = dataclasses.replace(given, missed_NL=np.full((40, len(BIASES)), 100))
    with refused("data/not-reachable"):
        choose_bias(hopeless, "conformal-miss=0.1")


def test_what_is_counted_as_missed_is_what_a_lowered_background_answers():
    generator = torch.Generator().manual_seed(0)
    logit_Chw = 4 * torch.randn(3, 5, 7, generator=generator)
    truth_HW = np.random.default_rng(0).integers(0, 3, (40, 56)).astype(np.int16)
    truth_HW[:5] = IGNORED
    counted = missed_counts(logit_Chw, truth_HW, FRAME, (40, 56), (0,))
    assert (np.diff(counted) <= 0).all()
    for place in (0, 3, 10, 40):
        answer = class_map(lowered(logit_Chw, (0,), float(BIASES[place])), FRAME, (40, 56))
        missed = ((truth_HW == 1) | (truth_HW == 2)) & (answer == 0)
        assert counted[place] == missed.sum()


def test_answers_and_counts_of_a_split_follow_the_point(example, items, logits, tmp_path):
    context = TaskContext(classes=example.classes, vocabulary={}, frame=FRAME)
    sample = next(s for s in example.samples if s.mask is not None)
    given = logits([np.zeros((40, 56))], FRAME)  # all background, by a lead of 10
    found = items([sample])
    point = SegmentPoint(bias=11.0, rule="-", at_most=0.1, n=1, value=0.0)
    plain, raised = (answers(given, found, one, context)[0] for one in (None, point))
    assert (plain.class_HW == 0).all()
    assert (raised.class_HW != 0).all()
    tallier = SegmentTallier(context, 1)
    tallier.add(found, [given])
    (counted,) = tallier.finish()
    front = counted.confusion_NCC[0, 1:].sum()
    assert counted.missed_NL[0, 0] == front > 0
    assert counted.missed_NL[0, -1] == 0
    save_tallies(tmp_path, "validation", (counted,))
    (back,) = load_tallies(tmp_path, "validation")
    assert np.array_equal(back.missed_NL, counted.missed_NL)
    judged = SegmentTallier(dataclasses.replace(context, points=(point,)), 1)
    judged.add(found, [given])
    (tallied,) = judged.finish()
    assert tallied.missed_NL is None
    assert tallied.confusion_NCC[0, 1:, 0].sum() == 0
    assert {LOGIT} == set(given)
