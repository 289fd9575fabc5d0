"""Windows without texture are computed once for each colour, and counted."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from moekit import Registry
from moekit.data.geometry import Box, Frame
from moekit.data.stream import Preprocess
from moekit.data.windows import Tiling
from moekit.plugins.resolve import resolve
from moekit.prediction.predict import notes_on, predict
from moekit.runtime.answerer import Answerer, remarks_in
from moekit.runtime.flat import alike
from moekit.runtime.predictor import Computed
from moekit.tasks.segment import LinearSegHead
from moekit.testing.reference import REFERENCE_KIT, add_reference

SIDE, WINDOW = 140, 28


class Brightness:
    """Says class 0 where a window is bright; counts what it computes."""

    def __init__(self):
        self.images = 0

    def __call__(self, images, *, trace=None):
        self.images += len(images)
        bright_B1hw = functional.avg_pool2d(images.mean(1, keepdim=True), 14)
        return Computed(
            outputs=({"logit_BChw": torch.cat([bright_B1hw, -bright_B1hw], dim=1)},), seconds=0.0
        )


def half_empty(noise=0):
    """A picture whose left half is of one grey, with a little noise, its right half noise only."""
    source = np.random.default_rng(0)
    pixels = source.integers(0, 256, (SIDE, SIDE, 3))
    pixels[:, : SIDE // 2] = 120 + source.integers(0, noise + 1, (SIDE, SIDE // 2, 3))
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def answerer():
    """An answerer with a tolerance for flat windows."""

    def make(flat=0):
        frame = Frame(height=WINDOW, width=WINDOW)
        registry = add_reference(Registry())
        kit = REFERENCE_KIT.variant(task="segment", summary="-", build_head=LinearSegHead)
        resolved = resolve(kit, registry)
        return Answerer(
            compute=Brightness(),
            preprocess=Preprocess(
                frame=frame,
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
                tiling=Tiling.of(frame, WINDOW, flat=flat),
            ),
            task=resolved.task,
            context=resolved.context(classes=("bright", "dark"), frame=frame),
            point=None,
        )

    return make


def windows_of(answerer):
    return answerer.preprocess.tiling.boxes((SIDE, SIDE))


def test_windows_of_one_colour_are_computed_once_and_the_answer_is_the_same(answerer, monkeypatch):
    one = answerer()
    (few,) = one.answer([half_empty()], batch_size=4)
    monkeypatch.setattr("moekit.runtime.parts.alike", lambda *_, **__: {})
    every = answerer()
    (whole,) = every.answer([half_empty()], batch_size=4)
    assert every.compute.images == len(windows_of(every))
    assert one.compute.images < 0.7 * every.compute.images
    assert np.array_equal(few.class_HW, whole.class_HW)


def test_a_tolerance_says_how_much_a_flat_window_may_vary(answerer):
    counts = []
    for flat in (0, 3, 10):
        one = answerer(flat)
        one.answer([half_empty(noise=5)])
        counts.append(one.compute.images)
    assert counts[0] == counts[1] == len(windows_of(answerer()))
    assert counts[2] < 0.7 * counts[0]


def test_windows_of_other_colours_and_sizes_are_not_alike():
    picture = Image.new("RGB", (60, 20), (10, 10, 10))
    picture.paste((200, 10, 10), (40, 0, 60, 20))
    boxes = [Box(0, 0, 20, 20), Box(0, 20, 20, 20), Box(0, 40, 20, 20), Box(0, 0, 10, 20)]
    assert alike([picture], boxes, tolerance=0) == {1: 0}
    assert alike([picture, half_empty().resize((60, 20))], boxes, tolerance=0) == {}


def test_a_picture_of_one_colour_takes_one_pass(answerer):
    one = answerer()
    (answer,) = one.answer([Image.new("RGB", (SIDE, SIDE), (255, 255, 255))])
    assert one.compute.images == 1
    assert answer.shares == {"bright": 1.0, "dark": 0.0}


def test_predict_counts_flat_windows_and_tells_the_progress_of_a_picture(answerer, tmp_path):
    half_empty().save(tmp_path / "scan.png")
    told = []
    one = answerer()
    rows = predict(
        [("scan.png", tmp_path / "scan.png")],
        answerer=one,
        provenance={},
        out=tmp_path / "out",
        batch_size=4,
        on_progress=lambda *what: told.append(what),
    )
    total = len(windows_of(one))
    ((kind, value),) = remarks_in(rows[0])
    assert (kind, value) == ("flat", total - one.compute.images)
    assert f"{value:.0f} windows without texture in 1 picture took" in notes_on(rows)[0]
    progress = [done for name, done, of in told if name == "windows of scan.png" and of == total]
    assert progress == sorted(progress)
    assert len(progress) > 2
    assert progress[-1] == total
