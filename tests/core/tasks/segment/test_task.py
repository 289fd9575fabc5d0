"""The record: from the example through head, loss, answers and tallies, as the engine calls it."""

import numpy as np
import torch

from moekit import Grid
from moekit.contract.answers import Answer, TaskContext
from moekit.contract.outputs import HeadSite
from moekit.contract.recipe import Recipe
from moekit.contract.tasks import TaskSpec
from moekit.data.geometry import Frame
from moekit.tasks.segment.learn import TARGET
from moekit.tasks.segment.metrics import METRICS
from moekit.tasks.segment.task import SEGMENT

GRID = Grid(4, 8)
FRAME = Frame(height=32, width=64, fit="letterbox")


def test_names_fit_each_other():
    assert isinstance(SEGMENT, TaskSpec)
    assert SEGMENT.metrics == tuple(spec.name for spec in METRICS)
    assert {spec.task for spec in METRICS} == {SEGMENT.name}
    (field,) = SEGMENT.outputs
    assert field.short == "logit"
    assert set(SEGMENT.show.names) == set(SEGMENT.metrics)
    assert SEGMENT.show.monitor in SEGMENT.show.columns


def test_the_example_runs_through_all_parts(tmp_path, generator, items):
    dataset = SEGMENT.example(tmp_path / "set")
    SEGMENT.learn.check(dataset)
    head = SEGMENT.example_head(HeadSite(width=8, blocks=1, classes=len(dataset.classes)))
    context = TaskContext(classes=dataset.classes, vocabulary={}, frame=FRAME)
    samples = dataset.split("val")
    tokens = [torch.randn(len(samples), 1 + GRID.patches, 8, generator=generator)]
    targets = SEGMENT.learn.targets(samples, np.zeros(len(samples), int), FRAME)
    loss = SEGMENT.learn.loss(head(tokens, GRID), targets, Recipe())
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in head.parameters())
    head.eval()
    with torch.no_grad():
        merged = SEGMENT.answering.merge([head(tokens, GRID)])
    assert set(SEGMENT.learn.figures(merged, targets)) == {"miou", "pixel_accuracy"}
    answers = SEGMENT.answering.answers(merged, items(samples), None, context)
    assert all(isinstance(answer, Answer) for answer in answers)
    tallier = SEGMENT.judge.tallier(context, 1)
    tallier.add(items(samples), [merged])
    tallies = tallier.finish()
    SEGMENT.judge.check(tallies)
    for answer, predicted in zip(answers, tallies[0].predicted_NC, strict=True):
        assert np.array_equal(answer.pixels_C, predicted)
    reference = SEGMENT.judge.reference(tallies[0])
    assert np.allclose(reference, [answer.monitor for answer in answers])
    for spec in METRICS:
        value = spec.compute(*(tallies[0].field(name) for name in spec.needs))
        assert 0 <= value <= 1
    assert targets[TARGET].shape == (6, 16, 32)
    assert SEGMENT.judge.words(context, None) == {"background": ["ground"], "point": None}
    assert SEGMENT.judge.choose(tallies[0], "") is None
