"""What the tests of the task share."""

import dataclasses

import numpy as np
import pytest
import torch

from moekit.contract.answers import Item, TaskContext
from moekit.data.geometry import Frame
from moekit.tasks.segment.example import write_example
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.tally import SegmentTallier
from moekit.tasks.segment.truth import read_truth


@pytest.fixture
def example(tmp_path):
    return write_example(tmp_path / "example")


@pytest.fixture
def context(example):
    return TaskContext(
        classes=example.classes, vocabulary={}, frame=Frame(height=32, width=64, fit="letterbox")
    )


@pytest.fixture
def items():
    """Makes items of samples of the example."""
    return lambda samples: [Item(id=s.id, size=(40, 56), sample=s) for s in samples]


@pytest.fixture
def logits():
    """Logits (B, C, h, w) that answer planes of class numbers, over the whole input."""

    def make(planes, frame, classes=3, fill=0):
        made = []
        for plane in planes:
            placed = torch.from_numpy(frame.place(plane.astype(np.int64), border=fill))
            made.append(10 * torch.nn.functional.one_hot(placed, classes).movedim(2, 0).float())
        return {LOGIT: torch.stack(made)}

    return make


@pytest.fixture
def tallies(example, items, logits):
    """Tallies of the example's val and test splits: a model nearly right, and one of class 0."""
    frame = Frame(height=40, width=56)
    context = TaskContext(classes=example.classes, vocabulary={}, frame=frame)
    samples = [s for s in example.samples if s.split != "train"]
    samples[0] = dataclasses.replace(samples[0], subtype="first", facts={"light": "dim"})
    tallier = SegmentTallier(context, 2)
    for piece in (samples[:5], samples[5:]):
        truth = [read_truth(s, (40, 56), 3) for s in piece]
        planes = [np.roll(one, 1 + number % 2, axis=1) for number, one in enumerate(truth)]
        nothing = [np.zeros((40, 56)) for _ in piece]
        tallier.add(items(piece), [logits(planes, frame), logits(nothing, frame)])
    return tallier.finish()
