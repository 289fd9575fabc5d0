"""run.json and what else decides holds the hash of its content: an edit is refused by name."""

import copy
import json

import pytest
import torch
from PIL import Image
from torch import nn

from moekit.export.record import open_folder
from moekit.plugins.lock import read_lock
from moekit.prediction.watch.golden import _read as read_golden
from moekit.runs.choices import keep, kept_model
from moekit.runs.pretrained import Pretrained
from moekit.runs.run import Run
from moekit.runs.schema import read_record, read_result
from moekit.sealed import SEAL, is_sealed, read_sealed, write_sealed
from moekit.testing import refused
from tests.core.runs.test_schema import RECORD, RESULT

EDITS = {
    "size of the input": lambda record: record["request"]["frame"].update(height=112),
    "image size": lambda record: record["request"]["recipe"].update(image_size=112),
    "classes": lambda record: record["request"]["classes"].reverse(),
    "tiling": lambda record: record["request"].update(tiling={"height": 56, "width": 56}),
    "rule": lambda record: record.update(rule={"name": "youden"}),
    "model": lambda record: record.update(use={"model": "baseline"}),
    "weights": lambda record: record["weights"].update(kit_sha256="1" * 64),
    "a new field": lambda record: record.update(more=1),
    "a field that is gone": lambda record: record.pop("skipped"),
    "a whole number": lambda record: record["request"].update(seed=1),
    "the hash": lambda record: record.update({SEAL: "0" * 64}),
    "no hash at all": lambda record: record.update({SEAL: None}),
}


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record, indent=2))


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write_sealed(folder / "run.json", RECORD)
    return folder


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edited_record_is_refused_by_name(run, change):
    assert read_record(run / "run.json")["done"]
    edit(run / "run.json", change)
    for read in (read_record, read_lock):
        with refused("data/edited-record", match=r"run\.json") as caught:
            read(run / "run.json")
        assert caught.value.exit_code == 4
        assert SEAL in caught.value.fix


def test_a_record_that_is_laid_out_otherwise_is_the_same(run):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(dict(reversed(record.items())), separators=(",", ":")))
    assert read_record(run / "run.json")["request"]["seed"] == 0


def test_programs_that_write_whole_numbers_without_a_point_change_nothing(tmp_path):
    write_sealed(tmp_path / "a.json", {"share": 1.0, "many": [2.0, {"x": -3.0}], "part": 0.5})
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("1.0", "1").replace("-3.0", "-3"))
    assert read_sealed(tmp_path / "a.json")["share"] == 1


@pytest.mark.parametrize(
    "content",
    [
        {"a": (1, 2.50, -0.0, 1e300, 2**70), "b": {"z": None, 1: True}},
        {"Größe \u2028": "\udcff ünï", 10: 1, 9: 2, "x": 10**-7},
    ],
)
def test_what_is_written_is_read_as_the_same_whatever_it_holds(tmp_path, content):
    path = tmp_path / "any.json"
    made = write_sealed(path, content)
    assert list(made)[-1] == SEAL
    assert json.loads(path.read_text()) == made
    again = write_sealed(path, made)
    assert again == made


@pytest.fixture
def commands(run, tmp_path):
    """Each command that reads a run, on the same run."""
    Image.new("RGB", (60, 60)).save(tmp_path / "a.png")
    write_sealed(run / "result.json", RESULT)
    (tmp_path / "answer.json").write_text("{}")
    kit, out = "industrial", tmp_path / "out"
    data = f"folder={tmp_path}"
    return {
        "predict": ("predict", kit, tmp_path / "a.png", "--run", run, "--out", out),
        "predict auto": ("predict", "auto", tmp_path / "a.png", "--run", run, "--out", out),
        "evaluate": ("evaluate", kit, "--data", data, "--run", run),
        "export": ("export", kit, "--data", data, "--run", run),
        "watch": ("watch", kit, tmp_path, "--run", run, "--out", out),
        "serve": ("serve", run, "--port", 0),
        "merge": ("merge", run, run, "--data", data, "--out", out),
        "next": ("next", run, tmp_path / "a.png", "--out", tmp_path / "next.csv"),
        "report": ("report", run),
    }


@pytest.mark.parametrize(
    "command",
    [
        *("predict", "predict auto", "evaluate", "export", "watch", "serve"),
        *("merge", "next", "report"),
    ],
)
def test_every_command_that_reads_a_run_refuses_it(moekit, commands, run, command, tmp_path):
    edit(run / "run.json", EDITS["size of the input"])
    outcome = moekit(*commands[command])
    assert (outcome.code, "[data/edited-record]" in outcome.err) == (4, True), outcome.err
    assert str(run / "run.json") in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_report_of_edited_figures_is_refused(moekit, commands, run):
    edit(run / "result.json", lambda result: result["metrics"]["auroc"].update(value=0.99))
    outcome = moekit(*commands["report"])
    assert (outcome.code, "[data/edited-record]" in outcome.err) == (4, True), outcome.err
    with refused("data/edited-record", match=r"result\.json"):
        read_result(run / "result.json")


def test_what_a_command_writes_into_a_run_is_hashed_again(run):
    keep(Run(run), rule="f1", use="baseline")
    record = Run(run).read()
    assert (record["rule"]["name"], record["use"]["kept"]) == ("f1", "baseline")
    assert is_sealed(record)
    assert not Run(run).unsealed()


def test_a_run_without_a_hash_opens_with_one_note_and_stays_without(run, caplog):
    """Of an earlier version, or whose hash somebody took out to accept an edit."""
    edit(run / "run.json", lambda record: record.pop(SEAL))
    opened = Run(run)
    for _ in range(3):
        opened.read_finished()
    assert caplog.text.count(SEAL) == 1
    (note,) = opened.unsealed()
    assert "run.json" in note
    keep(opened, rule="f1")
    assert not is_sealed(json.loads((run / "run.json").read_text()))
    assert Run(run).read()["rule"]["name"] == "f1"


def test_the_records_of_a_pretraining_an_export_and_golden_images_are_hashed_too(tmp_path):
    begun = Pretrained(tmp_path / "pretrained")
    begun.begin({"kit": "small"}, resume=False)
    begun.finish(nn.Linear(2, 2), ["0" * 64], {})
    edit(begun.record, lambda record: record.update(images=7))
    with refused("data/edited-record", match=r"pretrain\.json"):
        begun.read_finished()
    for name, read in (("export.json", open_folder), ("golden.json", read_golden)):
        path = tmp_path / name
        write_sealed(path, {"schema": 1, "images": {}})
        edit(path, lambda record: record.update(schema=2))
        with refused("data/edited-record", match=name):
            read(path if name == "golden.json" else tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("use", {"model": "x"}), ("use", {"model": "mean", "kept": "x"}), ("arithmetic", "fp64")],
)
def test_a_choice_that_does_not_exist_is_a_fault_of_the_record(moekit, run, field, value, tmp_path):
    write_sealed(run / "run.json", {**copy.deepcopy(RECORD), field: value})
    with refused("data/damaged-run", match=field) as caught:
        kept_model(Run(run))
    assert caught.value.exit_code == 4
    Image.new("RGB", (60, 60)).save(tmp_path / "a.png")
    given = ("predict", "industrial", tmp_path / "a.png", "--run", run, "--out", tmp_path / "out")
    outcome = moekit(*given)
    assert (outcome.code, "[data/damaged-run]" in outcome.err) == (4, True), outcome.err


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_type_are_not_cast_unseen(tmp_path, kind):
    run, module = Run(tmp_path), nn.Linear(3, 2)
    digest = run.save_weights("kit", nn.Linear(3, 2).to(kind))
    with refused("weights/other-type", match="float32") as caught:
        run.load_weights("kit", module, expected=digest)
    assert caught.value.exit_code == 4
    begun = Pretrained(tmp_path / "pretrained")
    begun.begin({"kit": "small"}, resume=False)
    begun.finish(nn.Linear(3, 2).to(kind), [], {})
    with refused("weights/other-type"):
        begun.load(module)
