"""The record of the task: its parts fit together on its own example."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from moekit import Grid, Recipe
from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import HeadSite
from moekit.contract.tasks import SummaryJob
from moekit.data.geometry import Frame
from moekit.data.images import read_image
from moekit.data.samples import SPLITS
from moekit.tasks.classify import CLASSIFY
from moekit.tasks.classify.metrics import CLASS_METRICS

FRAME = Frame(height=32, width=32)


@pytest.fixture
def example(tmp_path):
    folder = tmp_path / "example"
    folder.mkdir()
    return CLASSIFY.example(folder)


def tokens(samples):
    """Patches of 8 pixels with their mean first: the example needs no more than its colours."""
    pictures = np.stack([np.asarray(read_image(sample.path)) for sample in samples])
    patches = torch.from_numpy(pictures / 255).float().reshape(-1, 4, 8, 4, 8, 3)
    x_BPD = patches.permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2)
    return torch.cat([x_BPD.mean(1, keepdim=True), x_BPD], dim=1)


def test_the_example_is_sound_and_split(example):
    CLASSIFY.learn.check(example)
    assert example.split_names() == SPLITS
    assert all(sample.path.is_file() for sample in example.samples)


def test_it_learns_answers_judges_and_reports_its_example(example, tmp_path):
    torch.manual_seed(0)
    context = TaskContext(classes=example.classes, vocabulary={}, frame=FRAME)
    head = CLASSIFY.example_head(HeadSite(width=192, blocks=1, classes=3))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    train = example.split("train")
    target = CLASSIFY.learn.targets(train, np.zeros(len(train), dtype=np.int64), FRAME)
    for _ in range(40):
        loss = CLASSIFY.learn.loss(head([tokens(train)], Grid(4, 4)), target, Recipe())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    head.eval()
    tallies = {}
    for split in ("val", "test"):
        samples = example.split(split)
        merged = CLASSIFY.answering.merge([head([tokens(samples)], Grid(4, 4))])
        items = [Item(id=s.id, size=(32, 32), sample=s) for s in samples]
        tallier = CLASSIFY.judge.tallier(context, 1)
        tallier.add(items, [merged])
        (tallies[split],) = tallier.finish()
    point = CLASSIFY.judge.choose(tallies["val"], CLASSIFY.judge.rules[0])
    answers = CLASSIFY.answering.answers(merged, items, point, context)
    right = [
        answer.verdict == example.classes[item.sample.label]
        for answer, item in zip(answers, items, strict=True)
    ]
    assert np.mean(right) == 1.0
    CLASSIFY.judge.check([tallies["test"]])
    values = {
        spec.name: spec.compute(*(tallies["test"].field(name) for name in spec.needs))
        for spec in CLASS_METRICS
        if all(tallies["test"].field(name) is not None for name in spec.needs)
    }
    assert values["balanced_accuracy"] == values["top1"] == values["macro_auroc"] == 1.0
    job = SummaryJob(
        tallies=[tallies["test"]], points=[point], metrics=CLASS_METRICS, seed=0, resamples=10
    )
    summary = CLASSIFY.judge.complete({"n": 12}, job)
    assert summary["n"] == 12
    assert [row["recall"] for row in summary["per_class"]] == [1.0, 1.0, 1.0]
    facts = CLASSIFY.judge.facts(tallies["test"])
    assert facts["items_by_class"] == {"blue": 4, "green": 4, "red": 4}
    words = CLASSIFY.judge.words(context, point)
    assert words["point"] == point.as_json()
    told = {**summary, **facts, **words, **point.brief()}
    json.dumps(told, allow_nan=False)
    monitored = CLASSIFY.judge.reference(tallies["val"])
    np.testing.assert_allclose(monitored, tallies["val"].probability_NC.max(1))


def test_facts_of_several_labels_and_of_no_class_are_counted(tally):
    several = tally(30, 3, several=True)
    facts = CLASSIFY.judge.facts(several)
    assert facts["items_by_class"]["class 1"] == several.labels_NC[:, 1].sum()
    assert facts["of_no_class"] == (several.labels_NC.sum(1) == 0).sum()
    assert CLASSIFY.judge.facts(tally(30, 3, unseen=7))["of_no_class"] == 7


def test_the_metrics_that_it_names_are_there_with_the_headline_first():
    assert CLASSIFY.metrics[0] == "balanced_accuracy"
    assert sorted(CLASSIFY.metrics) == sorted(spec.name for spec in CLASS_METRICS)


def test_the_head_gives_the_fields_that_the_task_declares():
    head = CLASSIFY.example_head(HeadSite(width=8, blocks=1, classes=3)).eval()
    outputs = head([torch.randn(2, 17, 8)], Grid(4, 4))
    assert set(outputs) == {field.name for field in CLASSIFY.outputs}
    assert [field.short for field in CLASSIFY.outputs] == ["logit", "unlike"]


def test_metrics_need_no_torch():
    code = "import sys, moekit.tasks.classify.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
