"""Adapt, evaluate, report and predict on real solar cells, with real weights, on a small scale."""

import json
import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from moekit.cli.main import main

ADAPT = ("--epochs", "2", "--views", "1", "--image-size", "112")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """32 functional and 32 defective cells in class folders, and a broken file."""
    source = Path(str(files("elpv_dataset"))) / "data"
    folder = tmp_path_factory.mktemp("cells")
    counts = {"0.0": 0, "1.0": 0}
    for line in (source / "labels.csv").read_text().splitlines():
        name, probability, _ = line.split()
        if counts.get(probability, 32) < 32:
            counts[probability] += 1
            target = folder / ("good" if probability == "0.0" else "cracked") / Path(name).name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source / name, target)
    whole = next((folder / "good").glob("*.png"))
    (folder / "good" / "broken.png").write_bytes(whole.read_bytes()[:500])
    return folder


@pytest.fixture(scope="module")
def run(cells, tmp_path_factory):
    """An adapted run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["adapt", "industrial", "--data", f"folder={cells}", "--out", str(folder), *ADAPT]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    return folder


@pytest.fixture(scope="module")
def result(cells, run):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "industrial", "--data", f"folder={cells}", "--run", str(run)])
    assert stop.value.code == 0
    return json.loads((run / "result.json").read_text())


def test_the_specialist_learns_something(result):
    assert result["metrics"]["auroc"]["value"] > 0.75
    assert result["n"] + len(result["skipped"]) in (16, 17)


def test_every_metric_has_an_interval_and_the_result_its_provenance(result):
    names = {"auroc", "average_precision", "accuracy", "f1", "escape_rate", "overkill_rate"}
    assert set(result["metrics"]) == names == set(result["baseline"]["metrics"])
    for entry in result["metrics"].values():
        assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
    assert result["threshold"]["split"] == "val"
    assert {"moekit", "moekit-industrial"} <= {p["distribution"] for p in result["plugins"]}
    assert len(result["backbone"]["sha256"]) == len(result["weights"]["kit_sha256"]) == 64
    assert 0 <= result["comparison"]["delong_p"] <= 1


def test_evaluating_again_gives_the_same_scores_and_reads_the_run_once(
    moekit, cells, run, result, reads
):
    before = (run / "predictions.csv").read_bytes()
    reads.clear()
    outcome = moekit("evaluate", "industrial", "--data", f"folder={cells}", "--run", run, "--json")
    assert outcome.code == 0
    assert reads[run / "run.json"] == 1
    assert (run / "predictions.csv").read_bytes() == before
    assert outcome.json["metrics"] == result["metrics"]


def test_the_answers_of_another_run_are_compared_with_those_of_the_run(
    moekit, cells, run, result, tmp_path
):
    shutil.copytree(run, tmp_path / "second")
    data = ("--data", f"folder={cells}", "--run", run)
    outcome = moekit("evaluate", "industrial", *data, "--from", tmp_path / "second")
    assert outcome.code == 0, outcome.err
    (line,) = (one for one in outcome.out.splitlines() if one.startswith("second less the run run"))
    assert "auroc difference +0, [" in line
    assert line.endswith("delong p 1")
    assert "the run second is judged by its own point" in outcome.out
    found = json.loads((run / "given" / "second" / "result.json").read_text())
    assert found["metrics"]["auroc"] == result["metrics"]["auroc"]


def test_the_broken_image_is_counted_wherever_it_falls(run, result):
    record = json.loads((run / "run.json").read_text())
    skipped = [*record["skipped"], *result["skipped"]]
    assert [skip["id"] for skip in skipped] == ["good/broken.png"]


def test_the_report_is_one_small_file_that_loads_nothing(moekit, run, result):
    assert moekit("report", run).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 2_000_000
    assert "<script" not in page
    assert not re.search(r"(src|href)=(?![\"']data:)", page)
    for words in ("What was found", "Routing", "ROC curve", "Provenance", "frozen backbone"):
        assert words in page


def test_predict_writes_a_row_and_an_overlay_an_image_and_goes_on(
    moekit, cells, run, result, tmp_path
):
    out = tmp_path / "scored"
    given = ("--run", run, "--out", out, "--precision", "fp32")
    arguments = ("predict", "industrial", cells / "good", *given)
    first = moekit(*arguments, "--json")
    assert first.code == 0, first.err
    assert first.json["n"] == 33
    assert first.json["unreadable"] == 1
    rows = {row["file"]: row for row in first.json["predictions"]}
    assert rows["broken.png"]["verdict"] == "unreadable"
    assert {row["verdict"] for row in rows.values()} <= {"defective", "pass", "unreadable"}
    assert len(list((out / "overlays").rglob("*.jpg"))) == 32
    journal = out / "predictions.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:20]) + lines[20][:20])
    again = moekit(*arguments, "--json")
    for before, after in zip(first.json["predictions"], again.json["predictions"], strict=True):
        # Batches of another make-up may round otherwise (row independence holds to 1e-5).
        assert after.pop("score") == pytest.approx(before.pop("score"), abs=1e-5)
        for found, known in zip(after.pop("regions", []), before.pop("regions", []), strict=True):
            assert found.pop("peak") == pytest.approx(known.pop("peak"), abs=1e-5)
            # A pixel at the very level may fall on either side.
            assert found == pytest.approx(known, abs=2)
        assert after == before
    assert (out / "predictions.csv").read_text().count("\n") == 34


def test_predict_refuses_a_folder_of_another_run(moekit, cells, run, result, tmp_path):
    out = tmp_path / "scored"
    image = next((cells / "good").glob("cell*.png"))
    arguments = ("predict", "industrial", image, "--run", run, "--out", out)
    assert moekit(*arguments).code == 0
    refused = moekit(*arguments, "--threshold-rule", "max-miss=0.3", "--precision", "fp32")
    assert refused.code == 2
    assert "[usage/other-run]" in refused.err


def test_changed_weights_are_refused(moekit, cells, run, result, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    path = copy / "kit.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01"[:1])
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)
    refused = moekit("evaluate", "industrial", "--data", f"folder={cells}", "--run", copy)
    assert refused.code == 4
    assert "[weights/damaged]" in refused.err


def test_an_export_predicts_as_the_run_in_float32(moekit, cells, run, result, tmp_path, reads):
    pytest.importorskip("openvino", reason="needs the extra `export`")
    data = ("--data", f"folder={cells}", "--run", run, "--json")
    reads.clear()
    made = moekit("export", "industrial", *data)
    assert made.code == 0, made.err
    assert reads[run / "run.json"] == 1
    assert made.json["parity"]["fields"]["score_B"]["greatest"] <= 1e-4
    image = next((cells / "cracked").glob("*.png"))
    arguments = ("predict", "industrial", image, "--run", run, "--json")
    wanted = moekit(*arguments, "--out", tmp_path / "torch", "--precision", "fp32").json
    found = moekit(*arguments, "--out", tmp_path / "openvino", "--backend", "openvino").json
    (wanted_row,), (found_row,) = wanted["predictions"], found["predictions"]
    assert found_row["score"] == pytest.approx(wanted_row["score"], abs=1e-4)
    assert (found["backend"], found["precision"]) == ("openvino", "fp32")
    assert (tmp_path / "openvino" / found_row["overlay"]).is_file()


def test_an_option_that_an_export_cannot_follow_and_an_export_that_is_not_there_are_refused(
    moekit, cells, run, tmp_path
):
    image = next((cells / "good").glob("cell*.png"))
    arguments = ("predict", "industrial", image, "--run", run, "--out", tmp_path / "out")
    refused = moekit(*arguments, "--backend", "openvino", "--precision", "bf16")
    assert refused.code == 2
    assert "--precision" in refused.err
    missing = moekit(*arguments, "--backend", "openvino-int8")
    assert missing.code == 4
    assert "--int8" in missing.err


@pytest.mark.parametrize("command", ["predict", "report", "adapt"])
def test_a_command_reads_the_record_of_its_run_once(
    moekit, cells, run, result, tmp_path, reads, command
):
    image = next((cells / "good").glob("cell*.png"))
    data = ("--data", f"folder={cells}")
    arguments = {
        "predict": ("industrial", image, "--run", run, "--out", tmp_path / "out"),
        "report": (run,),
        "adapt": ("industrial", *data, "--out", run, *ADAPT, "--resume"),
    }
    reads.clear()
    outcome = moekit(command, *arguments[command])
    assert outcome.code == 0, outcome.err
    assert reads[run / "run.json"] == 1
