"""`moekit predict auto`: cells and crops of lungs in one folder, and pictures of neither."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from moekit.files import sha256
from moekit.sealed import write_sealed
from moekit_medical.loaders.candidates import write_example


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Crops of CT."""
    return write_example(tmp_path_factory.mktemp("crops"))


@pytest.fixture(scope="module")
def crops_run(example, adapted):
    """A run of the same kit on them."""
    return adapted("industrial", f"candidates={example}")


@pytest.fixture(scope="module")
def mixed(cells, example, tmp_path_factory):
    """Solar cells, crops of CT, stripes, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("mixed")
    for path in sorted((cells / "good").glob("*.png"))[:3]:
        shutil.copy(path, folder / f"cell-{path.name}")
    for path in sorted(example.rglob("*.png"))[:3]:
        shutil.copy(path, folder / f"crop-{path.name}")
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[::7, :, 1] = 255
    stripes[:, ::5, 0] = 255
    Image.fromarray(stripes).save(folder / "stripes.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def asked(mixed, industrial_run, crops_run, tmp_path):
    out = tmp_path / "out"
    runs = ("--run", f"cells={industrial_run}", "--run", f"lungs={crops_run}")
    return out, ("predict", "auto", mixed, *runs, "--out", out)


def test_each_picture_goes_to_its_kit_and_what_is_foreign_is_told(moekit, asked, mixed):
    out, command = asked
    outcome = moekit(*command, "--json")
    assert outcome.code == 0, outcome.err
    rows = {row["file"]: row for row in outcome.json["predictions"]}
    for name, row in rows.items():
        known = {"cell": "cells", "crop": "lungs"}.get(name.partition("-")[0], "")
        assert row["kit"] == known, row
        assert row["content"] == sha256(mixed / name)
    assert rows["stripes.png"]["verdict"] == "foreign"
    assert rows["stripes.png"]["distance"] > 1
    assert rows["broken.png"]["verdict"] == "unreadable"
    with (out / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    with (out / "cells" / "predictions.csv").open(newline="") as file:
        scores = [float(row["score"]) for row in csv.DictReader(file)]
    assert len(scores) == 3
    assert all((out / row["overlay"]).is_file() for row in rows.values() if row["overlay"])


def test_the_same_command_goes_on_and_answers_nothing_twice(moekit, asked, monkeypatch):
    out, command = asked
    first = moekit(*command, "--json").json
    lines = (out / "selected.jsonl").read_text().splitlines()
    (out / "selected.jsonl").write_text("\n".join(lines[:3]) + "\n")
    again = moekit(*command, "--json").json
    for one, other in zip(first["predictions"], again["predictions"], strict=True):
        assert one["kit"] == other["kit"]
    assert (out / "selected.jsonl").read_text().count("\n") == len(lines)


def test_a_run_without_a_record_of_its_looks_is_told_and_not_chosen(
    moekit, asked, industrial_run, tmp_path
):
    old = tmp_path / "old"
    shutil.copytree(industrial_run, old)
    record = json.loads((old / "run.json").read_text())
    del record["domain"]
    write_sealed(old / "run.json", record)
    _, command = asked
    outcome = moekit(*command, "--run", f"old={old}", "--json")
    assert outcome.json["chosen"].keys() == {"cells", "lungs"}
    assert outcome.json["notes"] == [
        "old cannot be chosen: its run does not say what its pictures look like"
    ]
    alone = moekit("predict", "auto", command[2], "--run", old, "--out", tmp_path / "none")
    assert alone.code == 2
    assert "[usage/no-domain]" in alone.err


def test_a_damaged_record_of_its_looks_is_refused(moekit, asked, industrial_run, tmp_path):
    bad = tmp_path / "bad"
    shutil.copytree(industrial_run, bad)
    (bad / "domain.safetensors").write_bytes(b"something else")
    outcome = moekit("predict", "auto", asked[1][2], "--run", bad, "--out", tmp_path / "none")
    assert outcome.code == 4
    assert "domain.safetensors" in outcome.err


def test_options_of_one_kit_are_refused(moekit, asked, industrial_run):
    _, command = asked
    assert "[usage/option-conflict]" in moekit(*command, "--use", "baseline").err
    two = ("--run", industrial_run, "--run", industrial_run)
    outcome = moekit("predict", "industrial", command[2], *two, "--out", command[-1])
    assert "[usage/option-conflict]" in outcome.err
