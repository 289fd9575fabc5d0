"""`moekit watch` and the review zone of `predict`, with a small run that was really trained."""

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from moekit.cli.main import main

ARCHITECTURE = "vit_tiny_patch16_224"
PREDICT = ("--precision", "fp32", "--device", "cpu", "--form", "none")


def paint(path, *, odd, seed):
    """A noisy gray picture; odd ones have a bright bar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(40, 80, (48, 48), dtype=np.uint8)
    if odd:
        pixels[18:30] = 250
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The weights of a small backbone, pictures of two classes and a run on them."""
    folder = tmp_path_factory.mktemp("watch")
    torch.manual_seed(0)
    model = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0)
    save_file(model.state_dict(), folder / "weights.safetensors")
    for number in range(40):
        name = f"{'bars' if number % 2 else 'good'}/{number:02}.png"
        paint(folder / "parts" / name, odd=number % 2, seed=number)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setenv("MOEKIT_CACHE_DIR", str(folder / "cache"))
        main(
            [
                *("adapt", "industrial", "--data", f"folder={folder / 'parts'}"),
                *("--out", str(folder / "run"), "--architecture", ARCHITECTURE),
                *("--weights", str(folder / "weights.safetensors"), "--image-size", "48"),
                *("--epochs", "2", "--views", "1", "--precision", "fp32", "--form", "none"),
            ]
        )
    assert stop.value.code == 0
    return folder


@pytest.fixture
def arguments(folder, tmp_path):
    """What a watch of tmp_path/in is called with."""
    (tmp_path / "in").mkdir()
    return [
        *("watch", "industrial", tmp_path / "in", "--run", folder / "run"),
        *("--weights", folder / "weights.safetensors", "--out", tmp_path / "out"),
        *("--settle", "0.05", *PREDICT),
    ]


def rows(out):
    """The rows of a journal that are whole."""
    path = out / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)[1:] if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_a_line_is_scored_as_predict_scores_it(moekit, folder, arguments, tmp_path):
    for number in range(6):
        paint(tmp_path / "in" / "day" / f"{number}.png", odd=number % 2, seed=100 + number)
    outcome = moekit(*arguments, "--once", "--review", "max-false-alarm=0.5", "--json")
    assert outcome.code == 0, outcome.err
    summary = outcome.json
    assert summary["n"] == 6
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    predicted = moekit(
        *("predict", "industrial", tmp_path / "in", "--run", folder / "run", "--json"),
        *("--weights", folder / "weights.safetensors", "--out", tmp_path / "scored", *PREDICT),
        *("--review", "max-false-alarm=0.5"),
    )
    assert predicted.code == 0, predicted.err
    assert predicted.json["review"] == summary["review"] < summary["threshold"]
    expected = {row["file"]: row for row in predicted.json["predictions"]}
    found = rows(tmp_path / "out")
    assert len(found) == 6
    for row in found:
        # Batches of another make-up may round otherwise (row independence holds to 1e-5).
        assert row["score"] == pytest.approx(expected[row["file"]]["score"], abs=1e-5)
        assert row["verdict"] == expected[row["file"]]["verdict"]
        assert (tmp_path / "out" / row["overlay"]).is_file()
        assert bool(row["overlay"]) == (row["verdict"] != "pass")


def test_the_end_is_told_in_words(moekit, arguments, tmp_path):
    paint(tmp_path / "in" / "a.png", odd=True, seed=1)
    outcome = moekit(*arguments, "--once")
    assert outcome.code == 0, outcome.err
    for words in ("1 images: 1 ", "ended: once", "from whole file to row: p50", "greatest queue"):
        assert words in outcome.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_summary_and_code_0(moekit, arguments, tmp_path, number):
    out = tmp_path / "out"

    def arrive():
        for count in range(400):
            paint(tmp_path / "in" / f"{count}.png", odd=False, seed=count)
            if len(rows(out)) >= 3:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.03)

    before = signal.getsignal(number)
    line = threading.Thread(target=arrive)
    line.start()
    outcome = moekit(*arguments, "--idle", "20", "--json")
    line.join()
    assert outcome.code == 0, outcome.err
    assert outcome.json["state"] == "stopped"
    assert outcome.json["n"] == len(rows(out)) >= 3
    assert signal.getsignal(number) == before


def test_a_killed_watch_goes_on_with_nothing_twice_and_nothing_lost(moekit, arguments, tmp_path):
    names = [f"{number:03}.png" for number in range(150)]
    for number, name in enumerate(names):
        paint(tmp_path / "in" / name, odd=number % 2, seed=number)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "moekit", *map(str, arguments), "--overlays", "none"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while len(rows(out)) < 5 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    journal = out / "results.jsonl"
    before = rows(out)
    assert 5 <= len(before) < 150
    journal.write_bytes(journal.read_bytes()[:-7])  # as if the kill had come within a row
    outcome = moekit(*arguments, "--overlays", "none", "--once", "--batch-size", "8", "--json")
    assert outcome.code == 0, outcome.err
    count = collections.Counter(row["file"] for row in rows(out))
    assert sorted(count) == names
    assert set(count.values()) == {1}
    assert rows(out)[: len(before) - 1] == before[:-1]
    assert outcome.json["n"] == 150
    assert outcome.json["session"]["n"] == 150 - len(before) + 1
    assert len(outcome.json["starts"]) == 2


def test_golden_scores_that_changed_are_a_failure_with_code_1(moekit, arguments, tmp_path):
    paint(tmp_path / "gold" / "good.png", odd=False, seed=1)
    paint(tmp_path / "gold" / "bar.png", odd=True, seed=2)
    golden = (*arguments, "--once", "--golden", tmp_path / "gold")
    assert moekit(*golden).code == 0
    again = moekit(*golden, "--json")
    assert again.code == 0, again.err
    assert again.json["golden"]["greatest_difference"] <= 1e-4
    record = tmp_path / "out" / "golden.json"
    content = json.loads(record.read_text())
    content["images"]["bar.png"]["score"] -= 0.01
    record.write_text(json.dumps(content))
    edited = moekit(*golden)
    assert (edited.code, "[data/edited-record]" in edited.err) == (4, True)
    del content["content_sha256"]  # as if the scores had been other ones when they were kept
    record.write_text(json.dumps(content))
    failed = moekit(*golden)
    assert failed.code == 1
    assert "[error/golden-scores]" in failed.err
    assert "bar.png" in failed.err
    assert "good.png" not in failed.err


def test_drift_is_told_and_does_not_stop_the_line(moekit, folder, arguments, tmp_path):
    for number in range(220):
        path = tmp_path / "in" / f"{number:03}.png"
        if number < 3:
            paint(path, odd=True, seed=number)
        else:
            shutil.copy(tmp_path / "in" / f"{number % 3:03}.png", path)
    outcome = moekit(*arguments, "--once", "--overlays", "none", "--batch-size", "16", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["n"] == 220
    drift = outcome.json["drift"]
    assert (drift["reference"], drift["n"]) == ("validation", 200)
    assert drift["drifted"]
    assert outcome.err.count("are not distributed as those of the reference") == 1


def test_what_cannot_be_watched_is_refused_before_the_model_is_loaded(
    moekit, arguments, folder, tmp_path
):
    inside = [*arguments[:-1], "none", "--out", tmp_path / "in" / "out"]
    assert "[usage/nested-folders]" in moekit(*inside).err
    missing = [tmp_path / "none" if one == tmp_path / "in" else one for one in arguments]
    refused = moekit(*missing)
    assert refused.code == 4
    assert "[data/not-found]" in refused.err
    wrong = moekit(*arguments, "--review", "0.9999")
    assert wrong.code == 2
    assert "[usage/review-zone]" in wrong.err


OWN_WAY = """
import moekit

@moekit.hookimpl
def moekit_kits():
    return [
        moekit.KitSpec(
            name="own", summary="-", slots=(), head_blocks=(-1,), build_head=moekit.PooledHead,
            recipe=moekit.Recipe(), metrics=("auroc",), positive="odd",
            outcome_names={"missed": "-", "false_alarm": "-"}, demo_dataset="folder",
            predict=lambda task: {},
        )
    ]
"""


def test_a_kit_that_predicts_in_its_own_way_has_neither_watch_nor_review_zone(
    moekit, install, tmp_path
):
    install("own-way", hooks=OWN_WAY, manifest={"provides": {"kits": ["own"]}})
    record = {"schema": 1, "done": True, "request": {"kit": "own-way/own"}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    rest = (tmp_path, "--run", tmp_path, "--out", tmp_path / "out")
    watched = moekit("watch", "own", *rest)
    assert (watched.code, "[usage/not-for-task]" in watched.err) == (2, True), watched.err
    predicted = moekit("predict", "own", *rest, "--review", "0.1")
    assert (predicted.code, "[usage/not-for-task]" in predicted.err) == (2, True), predicted.err
