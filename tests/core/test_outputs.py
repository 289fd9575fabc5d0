"""Folders that moekit wrote: known by what they hold, passed over, and kept to themselves."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moekit import Registry
from moekit.data import find_images, survey_folder
from moekit.files import atomic_folder, write_json
from moekit.outputs import ANSWERS, EXPORT, RUN, WATCH, check_vacant, kind_of_output
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.watch.source import Arrivals
from moekit.runs.journal import Journal
from moekit.runs.run import Run
from moekit.testing import refused

PROVENANCE = {"kit": "a", "task": "score", "kit_sha256": "0" * 64}


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def answers(folder, name="predictions.jsonl"):
    with Journal(folder / name, PROVENANCE):
        pass
    picture(folder / "overlays/a.jpg")
    return folder


def run(folder):
    Run(folder).begin({"kit": "a", "task": "score", "seed": 0}, resume=False)
    picture(folder / "overlays/worst/a.jpg")
    return folder


def data(folder):
    for place, name in enumerate(("good", "odd")):
        for number in range(8):
            picture(folder / name / f"{number}.png", 100 * place + number)
    return folder


def test_what_moekit_wrote_is_known_by_its_content(tmp_path):
    assert kind_of_output(run(tmp_path / "a")) == RUN
    assert kind_of_output(answers(tmp_path / "b")) == ANSWERS
    assert kind_of_output(answers(tmp_path / "c", "results.jsonl")) == WATCH
    assert kind_of_output(data(tmp_path / "d")) == ""
    assert kind_of_output(tmp_path / "missing") == ""


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "nonsense", '{"schema": 1}', '{"request": {"method": "GET"}}', "\0" * 5000],
)
def test_files_of_others_by_these_names_say_nothing(tmp_path, content):
    for name in ("run.json", "predictions.jsonl", "result.json", "series.json", "export.json"):
        (tmp_path / name).write_text(content)
    assert kind_of_output(tmp_path) == ""
    os.mkfifo(tmp_path / "bench.json")
    assert kind_of_output(tmp_path) == ""


def test_a_record_may_be_written_in_another_way(tmp_path):
    folder = run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text("\ufeff" + json.dumps(record, separators=(",", " :  ")))
    assert kind_of_output(folder) == RUN


def test_a_run_inside_the_data_is_no_class_and_is_told(tmp_path):
    folder = data(tmp_path / "parts")
    bare = Registry().load_dataset(f"folder={folder}", seed=0)
    run(folder / "runs/first")
    answers(folder / "scored")
    dataset = Registry().load_dataset(f"folder={folder}", seed=0)
    assert dataset.classes == ("good", "odd")
    assert [sample.id for sample in dataset.samples] == [sample.id for sample in bare.samples]
    (note,) = [note for note in dataset.notes if note not in bare.notes]
    assert note == (
        "2 folders that moekit wrote are left out: runs/first (a run), scored (answers of predict)"
    )


def test_answers_inside_the_inputs_are_not_answered(tmp_path):
    folder = data(tmp_path / "parts")
    answers(folder / "scored")
    told = []
    found = collect_inputs([folder], tell=told.append)
    assert len(found) == 16
    assert told == [f"1 folder that moekit wrote is left out: {folder}/scored (answers of predict)"]
    assert survey_folder(folder).outputs == (("scored", ANSWERS),)


def test_a_folder_that_is_named_itself_is_read(tmp_path):
    folder = answers(tmp_path / "scored")
    assert [path.name for path in find_images(folder)] == ["a.jpg"]
    assert [name for name, _ in collect_inputs([folder / "overlays"])] == ["a.jpg"]


def test_a_watch_passes_over_runs_and_says_which(tmp_path):
    folder = data(tmp_path / "line")
    run(folder / "runs/x")
    arrivals = Arrivals(folder, seen=(), settle=0.0, tries=1)
    assert len(arrivals.scan()) == 16
    assert arrivals.outputs == (("runs/x", RUN),)


@pytest.mark.parametrize("loader", ["mvtec", "good"])
def test_loaders_of_kits_pass_over_them_too(tmp_path, loader):
    write = Registry().dataset(loader).example
    source = write(tmp_path)
    bare = Registry().load_dataset(f"{loader}={source}", seed=0)
    root = Path(str(source).partition("?")[0])
    assert root.is_dir()
    answers(root / "scored")
    run(root / "runs")
    again = Registry().load_dataset(f"{loader}={source}", seed=0)
    assert [sample.id for sample in again.samples] == [sample.id for sample in bare.samples]
    assert {skip.id for skip in again.skipped} == {skip.id for skip in bare.skipped}


def test_other_things_are_never_mixed_with_a_run(tmp_path):
    folder = data(tmp_path / "mine")
    with refused("usage/foreign-folder", match=r"other things \(good, odd\), not a run"):
        check_vacant(folder, RUN)
    with refused("usage/foreign-folder"):
        Run(folder).begin({"kit": "a"}, resume=True)
    assert not (folder / "run.json").exists()
    with refused("usage/foreign-folder", match="holds answers of predict"):
        check_vacant(answers(tmp_path / "scored"), RUN)


def test_what_a_system_hides_in_a_folder_counts_for_nothing(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".run.json.1a2b.tmp"):
        (tmp_path / name).write_bytes(b"x")
    check_vacant(tmp_path, RUN)
    check_vacant(tmp_path / "new", RUN)


def test_a_folder_begun_and_cut_off_is_gone_on_with(tmp_path):
    answers(tmp_path)
    (tmp_path / "predictions.jsonl").write_text('{"kit": "a", "ki')
    check_vacant(tmp_path, ANSWERS)
    (tmp_path / "predictions.jsonl").write_text("")
    check_vacant(tmp_path, ANSWERS)
    (tmp_path / "predictions.jsonl").write_text("of somebody else\n")
    with refused("usage/foreign-folder"):
        check_vacant(tmp_path, ANSWERS)


def test_a_folder_made_whole_keeps_hidden_files_of_the_one_it_replaces(tmp_path):
    place = tmp_path / "export"
    place.mkdir()
    (place / ".keep").write_text("mine")
    for text in ("one", "two"):
        with atomic_folder(place, mark="export.json") as folder:
            write_json(folder / "export.json", {"text": text})
    assert (place / ".keep").read_text() == "mine"
    assert json.loads((place / "export.json").read_text()) == {"text": "two"}


def test_an_export_never_takes_files_of_others_away(tmp_path):
    from moekit.export.record import check_replaceable

    record = {"schema": 1, "format": "onnx", "kit": "a", "files": {"model.onnx": "0"}}
    write_json(tmp_path / "export.json", record)
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("mine")
    assert kind_of_output(tmp_path) == EXPORT
    with refused("usage/foreign-folder"):
        check_replaceable(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("adapt", "KIT", "--data", "folder=DATA", "--out", "OUT"),
        ("predict", "industrial", "DATA", "--run", "RUN", "--out", "OUT"),
        ("watch", "industrial", "DATA", "--run", "RUN", "--out", "OUT", "--once"),
        ("demo", "industrial", "--out", "OUT"),
        ("bench", "layer", "--out", "OUT"),
        ("anomalib", "Padim", "--data", "folder=DATA", "--out", "OUT"),
    ],
)
def test_commands_refuse_a_folder_of_other_things_before_they_begin(moekit, tmp_path, arguments):
    out = data(tmp_path / "mine")
    before = sorted(out.rglob("*"))
    inputs = data(tmp_path / "inputs")
    names = {"KIT": "industrial", "DATA": inputs, "OUT": out, "RUN": tmp_path / "run"}
    outcome = moekit(
        *(str(names.get(one, one)).replace("folder=DATA", f"folder={out}") for one in arguments),
        "--json",
    )
    assert outcome.code == 2
    assert "usage/foreign-folder" in outcome.err + outcome.out
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "record", "kind"),
    [
        ("merge.json", {"schema": 1, "by": "route", "weigh": "images"}, "a run"),
        ("pretrain.json", {"schema": 1, "request": {}, "done": False}, "a pretraining"),
        (
            "corrections.json",
            {"schema": 1, "kit": "a/b", "task": "score", "classes": ["good", "bad"]},
            "corrections of a kit",
        ),
    ],
)
def test_merges_pretrainings_and_corrections_are_recognised(tmp_path, name, record, kind):
    (tmp_path / name).write_text(json.dumps(record))
    assert kind_of_output(tmp_path) == kind
