"""Each check of tasks passes a good one and fails one that is broken in just that way."""

import dataclasses
import secrets
import types

import numpy as np
import pytest
import torch
from torch import nn

from moekit import DataError, UsageError
from moekit.tasks.score import SCORE
from moekit.tasks.score.example import ScoreExampleHead
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.tallier import ScoreTallier
from moekit.testing import ConformanceError, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS


def with_part(part, **changes):
    """The task score with something else in one of its parts."""
    return dataclasses.replace(
        SCORE, **{part: dataclasses.replace(getattr(SCORE, part), **changes)}
    )


def with_head(head):
    return dataclasses.replace(SCORE, example_head=head)


class OutOfBounds(ScoreExampleHead):
    def forward(self, tokens, grid):
        outputs = super().forward(tokens, grid)
        return {**outputs, "map_BHW": torch.full((len(outputs["logit_B"]), *grid), 1.5)}


class Unknown(ScoreExampleHead):
    def forward(self, tokens, grid):
        return {**super().forward(tokens, grid), "size_B": torch.ones(len(tokens[0]))}


class Idle(ScoreExampleHead):
    def __init__(self, site):
        super().__init__(site)
        self.idle = nn.Parameter(torch.zeros(1))


class Random(ScoreExampleHead):
    def forward(self, tokens, grid):
        logit = super().forward(tokens, grid)["logit_B"]
        # A source of randomness that no seed reaches.
        return {"logit_B": logit + secrets.randbelow(1000) / 1000}


def without_validation(folder):
    made = SCORE.example(folder)
    samples = tuple(sample for sample in made.samples if sample.split != "val")
    return dataclasses.replace(made, samples=samples)


def of_three_classes(folder):
    return dataclasses.replace(SCORE.example(folder), classes=("a", "b", "c"))


def twice(views):
    merged = SCORE.answering.merge(views)
    return {**merged, "logit_B": 2 * merged["logit_B"]}


def one_too_few(outputs, items, point, context):
    return SCORE.answering.answers(outputs, items, point, context)[1:]


def silent(outputs, items, point, context):
    given = SCORE.answering.answers(outputs, items, point, context)
    return [dataclasses.replace(answer, verdict="") for answer in given]


def with_a_tensor(outputs, items, point, context):
    given = SCORE.answering.answers(outputs, items, point, context)
    return [dataclasses.replace(answer, kind=outputs["logit_B"]) for answer in given]


def needs_truth(outputs, items, point, context):
    assert all(item.sample.label in (0, 1) for item in items)
    return SCORE.answering.answers(outputs, items, point, context)


def tallier_of(tally):
    """A tallier whose tallies are of another class."""

    class Tallier(ScoreTallier):
        def finish(self):
            return tuple(
                tally(**{field.name: getattr(one, field.name) for field in dataclasses.fields(one)})
                for one in super().finish()
            )

    return Tallier


class ByBatch(ScoreTallier):
    def add(self, items, outputs):
        centred = [{"logit_B": one["logit_B"] - one["logit_B"].mean()} for one in outputs]
        super().add(items, centred)


class Backwards(Predictions):
    def take(self, rows):
        return super().take(rows[::-1])


class Shared(Predictions):
    @property
    def strata_N(self):
        return np.zeros(3)


class Beyond(Predictions):
    def worst(self, point):
        return {"missed": np.array([len(self)])}


class Again(Predictions):
    def worst(self, point):
        return {"missed": np.array([1, 1])}


def save_rounded(folder, stem, tallies):
    rounded = [dataclasses.replace(one, scores=one.scores.round(1)) for one in tallies]
    return SCORE.judge.save(folder, stem, rounded)


def save_elsewhere(folder, stem, tallies):
    return SCORE.judge.save(folder, f"my-{stem}", tallies)


def load_the_first(folder, stem):
    return SCORE.judge.load(folder, stem)[:1]


def load_leniently(folder, stem):
    try:
        return SCORE.judge.load(folder, stem)
    except DataError:
        return ()


def load_carelessly(folder, stem):
    try:
        return SCORE.judge.load(folder, stem)
    except DataError as error:
        raise KeyError(stem) from error


def choose_an_array(tally, rule):
    return types.SimpleNamespace(
        threshold=0.5, review=None, as_json=lambda: {"low": np.zeros(1)}, brief=dict
    )


def choose_only_the_first(tally, rule):
    if rule != SCORE.judge.rules[0]:
        raise KeyError(rule)
    return SCORE.judge.choose(tally, rule)


def choose_never(tally, rule):
    raise DataError("too few", whose="-", fix="-")


def choose_one_rule(tally, rule):
    """A rule for other data refuses these: that is no fault."""
    if rule != SCORE.judge.rules[0]:
        raise UsageError("not for such data", whose=rule, fix="-")
    return SCORE.judge.choose(tally, rule)


BROKEN = [
    ("is-described", dataclasses.replace(SCORE, source=" ")),
    ("is-described", with_part("show", columns=("score", "verdict"))),
    ("is-described", with_part("show", monitor="probability")),
    ("is-described", dataclasses.replace(SCORE, outputs=SCORE.outputs * 2)),
    (
        "is-described",
        dataclasses.replace(SCORE, derived=(dataclasses.replace(SCORE.derived[0], name="s_C"),)),
    ),
    ("names-its-metrics", dataclasses.replace(SCORE, metrics=("nonesuch",))),
    ("names-its-metrics", dataclasses.replace(SCORE, name="other")),
    ("brings-an-example", dataclasses.replace(SCORE, example=without_validation)),
    ("brings-an-example", dataclasses.replace(SCORE, example=of_three_classes)),
    ("gives-what-it-declares", with_head(OutOfBounds)),
    ("gives-what-it-declares", with_head(Unknown)),
    ("gives-what-it-declares", dataclasses.replace(SCORE, derived=())),
    ("learns", with_head(Idle)),
    ("learns", with_part("learn", loss=lambda o, t, r: (o["logit_B"] * 0).sum() + float("nan"))),
    ("learns", with_part("learn", loss=lambda o, t, r: o["logit_B"])),
    ("learns", with_part("learn", targets=lambda s, v, f: {"label_B": torch.zeros(1)})),
    ("merges-views", with_part("answering", merge=twice)),
    ("merges-views", with_part("answering", merge=lambda views: torch.stack(views))),
    ("answers-each-item", with_part("answering", answers=one_too_few)),
    ("answers-each-item", with_part("answering", answers=silent)),
    ("answers-each-item", with_part("answering", answers=with_a_tensor)),
    ("answers-each-item", with_part("answering", answers=needs_truth)),
    ("answers-each-item", with_part("answering", unreadable=lambda point: {"reason": "gone"})),
    ("answers-each-item", with_part("show", files=lambda answer: {"mask": (".png", b"")})),
    ("draws-or-does-not", with_part("show", draw=lambda *_: "a picture")),
    ("draws-or-does-not", with_part("show", caption=lambda a, item, c: item.sample and None)),
    ("tallies-in-any-batches", with_part("judge", tallier=ByBatch)),
    ("tallies-in-any-batches", with_part("judge", facts=lambda tally: {"ids": tally.scores})),
    ("takes-items", with_part("judge", tallier=tallier_of(Backwards))),
    ("takes-items", with_part("judge", tallier=tallier_of(Shared))),
    ("keeps-tallies-in-files", with_part("judge", save=save_rounded)),
    ("keeps-tallies-in-files", with_part("judge", save=save_elsewhere)),
    ("keeps-tallies-in-files", with_part("judge", load=load_the_first)),
    ("keeps-tallies-in-files", with_part("judge", load=load_leniently)),
    ("keeps-tallies-in-files", with_part("judge", load=load_carelessly)),
    ("chooses-points", with_part("judge", choose=choose_an_array)),
    ("chooses-points", with_part("judge", choose=choose_only_the_first)),
    ("chooses-points", with_part("judge", choose=choose_never)),
    ("finds-the-worst", with_part("judge", tallier=tallier_of(Beyond))),
    ("finds-the-worst", with_part("judge", tallier=tallier_of(Again))),
    ("runs-from-end-to-end", with_head(Random)),
]


@pytest.mark.parametrize("name", CHECKS["task"])
def test_the_task_score_passes(name, run_check):
    run_check("task", name, SCORE)


@pytest.mark.parametrize(("name", "broken"), BROKEN)
def test_a_broken_task_fails_the_check_that_it_breaks(name, broken, run_check):
    with pytest.raises(ConformanceError):
        run_check("task", name, broken)


def test_each_check_has_a_task_that_fails_it():
    assert {name for name, _ in BROKEN} == set(CHECKS["task"])


def test_a_rule_may_refuse_data_that_are_not_for_it(run_check):
    run_check("task", "chooses-points", with_part("judge", choose=choose_one_rule))


def test_a_task_without_rules_has_no_point(run_check):
    judge = dataclasses.replace(SCORE.judge, rules=(), choose=lambda tally, rule: None)
    words = dataclasses.replace(judge, words=lambda context, point: {})
    run_check("task", "chooses-points", dataclasses.replace(SCORE, judge=words))
