"""An answer belongs to what was answered: another image of the same name is answered again."""

import json
import math
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.contract.answers import TaskContext
from moekit.data.stream import Preprocess
from moekit.errors import ImageError
from moekit.files import sha256
from moekit.prediction.earlier import Earlier
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.predict import predict, predict_items
from moekit.runtime.answerer import NOT_FINITE, Answerer
from moekit.runtime.predictor import Computed
from moekit.tasks.score import SCORE
from moekit.tasks.score.threshold import OperatingPoint

POINT = OperatingPoint(threshold=0.5, rule="accuracy", split="val", n=50, value=1.0)


class Brightness:
    """Scores a picture by its mean brightness; counts what it was given."""

    def __init__(self):
        self.scored = 0
        self.lost = False

    def __call__(self, images):
        self.scored += len(images)
        score_B = images.double().mean((1, 2, 3)).clip(0, 1)
        if self.lost:
            score_B = torch.full_like(score_B, math.nan)
        maps = images[:, 0, ::4, ::4].clip(0, 1)
        return Computed(outputs=({"logit_B": score_B.logit(), "map_BHW": maps},), seconds=0.0)


@pytest.fixture
def scorer():
    return Brightness()


@pytest.fixture
def answerer(scorer):
    preprocess = Preprocess(size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Answerer(
        compute=scorer,
        preprocess=preprocess,
        task=SCORE,
        context=TaskContext(
            classes=("good", "odd"), vocabulary={"positive": "odd"}, frame=preprocess.frame
        ),
        point=POINT,
    )


@pytest.fixture
def answered(answerer, tmp_path):
    """Answers a folder into tmp_path/out; returns rows by name and what was said."""

    def call(folder):
        told = []
        rows = predict(
            collect_inputs([folder]),
            answerer=answerer,
            provenance={"kit": "brightness"},
            out=tmp_path / "out",
            batch_size=2,
            on_progress=lambda *_: None,
            tell=told.append,
        )
        return {row["file"]: row for row in rows}, told

    return call


def paint(folder, **levels):
    folder.mkdir(exist_ok=True)
    for name, level in levels.items():
        Image.fromarray(np.full((16, 16, 3), round(255 * level), np.uint8)).save(
            folder / f"{name}.png"
        )
    return folder


def test_new_images_of_old_names_are_answered_and_never_get_old_scores(answered, scorer, tmp_path):
    monday = paint(tmp_path / "monday", a=0.9, b=0.2, c=0.8)
    tuesday = paint(tmp_path / "tuesday", a=0.1, b=0.2, c=0.7)
    answered(monday)
    rows, told = answered(tuesday)
    assert scorer.scored == 3 + 2  # b is the same picture
    found = {name: row["score"] for name, row in rows.items()}
    assert found == pytest.approx({"a.png": 0.1, "b.png": 0.2, "c.png": 0.7}, abs=0.01)
    assert {row["content"] for row in rows.values()} == {sha256(path) for path in tuesday.iterdir()}
    assert len(told) == 1
    assert "a.png" in told[0]
    lines = (tmp_path / "out/predictions.csv").read_text().splitlines()[1:]
    assert [float(line.split(",")[1]) for line in lines] == [row["score"] for row in rows.values()]
    assert answered(tuesday) == (rows, [])
    assert answered(monday)[0]["a.png"]["score"] == pytest.approx(0.9, abs=0.01)


def test_an_image_that_changed_in_place_is_answered_again_whatever_its_size_and_time(
    answered, tmp_path
):
    folder = paint(tmp_path / "in", a=0.9)
    path = folder / "a.png"
    before = path.stat()
    answered(folder)
    paint(folder, a=0.3)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert answered(folder)[0]["a.png"]["score"] == pytest.approx(0.3, abs=0.01)


def test_a_repaired_image_is_answered_and_its_old_picture_goes_once_it_is_damaged(
    answered, tmp_path
):
    folder = paint(tmp_path / "in", a=0.9)
    path, whole = folder / "a.png", (folder / "a.png").read_bytes()
    path.write_bytes(whole[:60])
    assert answered(folder)[0]["a.png"]["verdict"] == "unreadable"
    path.write_bytes(whole)
    assert answered(folder)[0]["a.png"]["verdict"] == "odd"
    assert (tmp_path / "out/overlays/a.png.jpg").is_file()
    path.write_bytes(whole[:60])
    row = answered(folder)[0]["a.png"]
    assert (row["verdict"], row["overlay"]) == ("unreadable", "")
    assert not (tmp_path / "out/overlays/a.png.jpg").exists()


def test_the_old_picture_of_a_name_that_was_cut_goes_too(answered, tmp_path):
    name = "n" * 250
    folder = paint(tmp_path / "in", **{name: 0.9})
    overlay = answered(folder)[0][f"{name}.png"]["overlay"]
    assert name not in overlay
    assert (tmp_path / "out" / overlay).is_file()
    (folder / f"{name}.png").write_bytes(b"no picture")
    assert answered(folder)[0][f"{name}.png"]["overlay"] == ""
    assert not (tmp_path / "out" / overlay).exists()


def test_a_row_that_names_the_picture_of_another_one_removes_nothing(tmp_path):
    kept = tmp_path / "overlays/b.png.jpg"
    kept.parent.mkdir()
    kept.touch()
    for overlay in ("overlays/b.png.jpg", "overlays/../overlays/b.png.jpg", "overlays/a.png"):
        earlier = Earlier([{"file": "a.png", "overlay": overlay, "content": "0"}], tmp_path)
        assert earlier.answer("a.png", "1") is None
        assert earlier.changed == ["a.png"]
    assert kept.is_file()


def test_answers_that_do_not_say_of_what_content_they_are_are_made_again(
    answered, scorer, tmp_path
):
    folder = paint(tmp_path / "in", a=0.9, b=0.1)
    answered(folder)
    journal = tmp_path / "out/predictions.jsonl"
    head, *lines = [json.loads(line) for line in journal.read_text().splitlines()]
    old = [{name: value for name, value in row.items() if name != "content"} for row in lines]
    journal.write_text("".join(json.dumps(row) + "\n" for row in [head, *old]))
    _, told = answered(folder)
    assert scorer.scored == 4
    assert len(told) == 1


def test_an_answer_that_is_no_number_is_null_with_its_reason(answered, scorer, tmp_path):
    scorer.lost = True
    rows, _ = answered(paint(tmp_path / "in", a=0.1))
    row = rows["a.png"]
    assert (row["score"], row["verdict"], row["error"]) == (None, "odd", NOT_FINITE)
    text = (tmp_path / "out/predictions.jsonl").read_text()
    assert [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def test_items_of_a_reader_are_known_by_their_pixels(answerer, scorer, tmp_path):
    def items(level):
        pixels = np.full((16, 16, 3), round(255 * level), np.uint8)
        yield "slice 1", [Image.fromarray(pixels)]
        yield "slice 2", ImageError("it is empty", whose="slice 2", fix="-")

    def answer(level):
        told = []
        rows = predict_items(
            items(level),
            answerer=answerer,
            provenance={"kit": "brightness"},
            out=tmp_path / "out",
            batch_size=2,
            on_progress=lambda *_: None,
            tell=told.append,
        )
        return rows[0]["score"], len(told)

    assert answer(0.9) == (pytest.approx(0.9, abs=0.01), 0)
    assert answer(0.9) == (pytest.approx(0.9, abs=0.01), 0)
    assert scorer.scored == 1
    assert answer(0.2) == (pytest.approx(0.2, abs=0.01), 1)


def test_the_images_of_tuesday_are_not_those_of_monday(answered, shared, tmp_path):
    case = shared / "cases/field/01-predict-same-names"
    if not case.is_dir():
        pytest.skip("the case is not there")
    monday, _ = answered(case / "monday")
    tuesday, _ = answered(case / "tuesday")
    shutil.rmtree(tmp_path / "out")
    assert tuesday == answered(case / "tuesday")[0]
    assert [row["score"] for row in monday.values()] != [row["score"] for row in tuesday.values()]
