"""What the tests of a watch share: pictures of known brightness and a scorer that measures it."""

import dataclasses
import threading
import time

import numpy as np
import pytest
from PIL import Image

from moekit.contract.answers import TaskContext
from moekit.data.stream import Preprocess
from moekit.prediction.watch.job import WatchJob
from moekit.prediction.watch.loop import watch
from moekit.runtime.answerer import Answerer
from moekit.runtime.predictor import Computed
from moekit.tasks.score import SCORE
from moekit.tasks.score.threshold import OperatingPoint

MADE_WITH = {"kit": "brightness"}
POINT = OperatingPoint(threshold=0.5, rule="accuracy", split="val", n=50, value=1.0)


class Brightness:
    """Scores a picture by its mean brightness, in [0, 1]; a scorer that can be slow or worn.

    Attributes:
        seconds: Time that a batch takes.
        offset: Is added to each score.
        batches: Sizes of the batches that were scored.
    """

    def __init__(self, seconds=0.0, offset=0.0):
        self.seconds, self.offset, self.batches = seconds, offset, []

    def __call__(self, images):
        time.sleep(self.seconds)
        self.batches.append(len(images))
        score_B = (images.double().mean((1, 2, 3)) + self.offset).clip(0, 1)
        outputs = {"logit_B": score_B.logit(), "map_BHW": images[:, 0, ::4, ::4].clip(0, 1)}
        return Computed(outputs=(outputs,), seconds=self.seconds)


@pytest.fixture
def brightness():
    return Brightness


@pytest.fixture
def paint(tmp_path):
    """Writes pictures of a brightness into tmp_path/in; returns their paths."""

    def write(*names, level=0.1, folder="in"):
        paths = [tmp_path / folder / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16, 3), round(255 * level), np.uint8)).save(path)
        return paths

    (tmp_path / "in").mkdir()
    return write


@pytest.fixture
def preprocess():
    return Preprocess(size=16, mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture
def make_answerer(preprocess):
    """Makes a trained run that answers pictures by a scorer."""

    def make(scorer=None, review=None):
        context = TaskContext(
            classes=("good", "odd"), vocabulary={"positive": "odd"}, frame=preprocess.frame
        )
        return Answerer(
            compute=scorer or Brightness(),
            preprocess=preprocess,
            task=SCORE,
            context=context,
            point=POINT if review is None else dataclasses.replace(POINT, review=review),
        )

    return make


@pytest.fixture
def run_watch(tmp_path, make_answerer):
    """Watches tmp_path/in with what is there, unless a keyword says otherwise."""

    def call(scorer=None, *, stop=None, tell=lambda text: None, review=None, **changes):
        provenance = {**MADE_WITH, "threshold": 0.5}
        options = {
            "folder": tmp_path / "in",
            "out": tmp_path / "out",
            "made_with": MADE_WITH,
            "provenance": provenance,
            "settle": 0.05,
            "once": True,
            "reference": np.linspace(0.05, 0.15, 50),
        }
        return watch(
            WatchJob(**{**options, **changes}),
            answerer=make_answerer(scorer, review),
            stop=stop or threading.Event(),
            tell=tell,
        )

    return call
