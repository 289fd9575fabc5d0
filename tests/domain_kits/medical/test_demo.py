"""What `moekit demo medical` predicts, and the demonstration as a whole."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from moekit import PredictJob, Recipe
from moekit.cli.main import main
from moekit.testing import refused
from moekit_medical.demo_inputs import BALLS, demo_inputs
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.loaders.candidates import write_example
from moekit_medical.predict import predict_series


def brightness(pictures):
    """The middle of each crop."""
    return np.array([np.asarray(one)[20:30, 20:30].mean() / 255 for one in pictures])


def task(path, out):
    return PredictJob(
        inputs=(path,),
        out=out,
        score=brightness,
        threshold=0.8,
        provenance={"disclaimer": DISCLAIMER},
        batch_size=64,
        on_progress=lambda *_: None,
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return demo_inputs(tmp_path_factory.mktemp("inputs"))


def test_the_balls_of_the_made_volume_are_its_candidates(inputs, tmp_path):
    summary = predict_series(task(inputs["made_volume"], tmp_path))
    assert (summary["scored"], summary["findings"]) == (1, 2)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    with (folder / "candidates.csv").open(newline="") as file:
        depths = {round(float(row["centre_d"])) for row in csv.DictReader(file)}
    assert depths == set(BALLS)
    assert len(list((folder / "overlays").glob("*.png"))) == 2
    assert not list(folder.glob("*.dcm"))


def test_an_option_of_the_path_asks_all_views_for_each_candidate(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("moekit_medical.inference.scoring.LEAST", 1)
    glanced = []

    def glance(pictures):
        glanced.append(len(pictures))
        return brightness(pictures) / 2

    made = inputs["made_volume"]
    for name, asked in (("all", False), ("needed", True)):
        job = task(made.with_name(f"{made.name}?views={name}"), tmp_path / name)
        summary = predict_series(dataclasses.replace(job, by_fewer_views=(glance,)))
        assert summary["findings"] == 2
        assert bool(glanced) is asked


def test_an_option_of_the_path_says_how_many_candidates_are_scored(inputs, tmp_path):
    made = inputs["made_volume"]
    summary = predict_series(task(made.with_name(f"{made.name}?candidates=2"), tmp_path / "few"))
    record = json.loads((tmp_path / "few" / "series.json").read_text())["series"][0]
    left = summary["candidates not scored"]
    assert (record["candidates"], record["candidates_not_scored"]) == (2, left)
    assert any(note.startswith(f"{left} candidates ") for note in summary["notes"])
    more = predict_series(
        task(made.with_name(f"{made.name}?candidates={left + 2}"), tmp_path / "all")
    )
    assert "candidates not scored" not in more
    assert more["notes"] == []
    for wrong in ("candidates=0", "candidates=many", "views=some", "other=1"):
        with refused("data/bad-option"):
            predict_series(task(made.with_name(f"{made.name}?{wrong}"), tmp_path / "none"))


def test_the_made_volume_is_the_same_each_time(inputs, tmp_path):
    again = demo_inputs(tmp_path)["made_volume"]
    assert again.read_bytes() == inputs["made_volume"].read_bytes()


def test_each_of_the_real_files_has_a_verdict(inputs, tmp_path):
    summary = predict_series(task(inputs["dicom_files"], tmp_path))
    assert summary["no lung found"] == 1  # five slices of 16 x 16 pixels, sound
    assert summary["refused"] > 10
    assert summary["ignored"] > 50
    told = json.loads((tmp_path / "series.json").read_text())
    assert all(entry["reason"] and entry["fix"] for entry in told["refused"])


def test_other_data_take_the_place_of_the_demonstration(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The steps that a small set needs take minutes, and how good the model is does not matter here.
    monkeypatch.setattr(Recipe, "for_set", lambda recipe, epochs, _samples: (recipe, epochs))
    (tmp_path / "crops").mkdir()
    data = write_example(tmp_path / "crops")
    with pytest.raises(SystemExit) as ended:
        main(["demo", "medical", "--data", f"candidates={data}", "--json"])
    assert not ended.value.code
    result = json.loads(capsys.readouterr().out)
    assert result["dataset"].startswith("candidates ")
    assert (result["positive"], result["data"]["caution"]) == ("nodule", "")
    assert result["predicted"] == {}
    assert (tmp_path / "runs" / "demo-medical-candidates" / "report.html").is_file()


@pytest.mark.bench
def test_the_demonstration_says_on_terminal_and_page_what_it_cannot_show(
    tmp_path, capsys, monkeypatch
):
    pytest.importorskip("data_store", reason="two of the slices come with pydicom-data")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "medical"])
    assert not ended.value.code
    shown = " ".join(capsys.readouterr().out.split())
    run = tmp_path / "runs" / "demo-medical"
    page = (run / "report.html").read_text(encoding="utf-8")
    series = json.loads((run / "predicted" / "made_volume" / "series.json").read_text())
    for text in (shown, page, series["provenance"]["trained on"]):
        assert "cannot show how well nodules are found" in text
    assert "nodule" not in page.partition("<h2>Reporting guideline")[0].replace(
        "how well nodules are found", ""
    )
    assert "On these data the specialist" in shown
    assert "`moekit predict` answers by" in shown
    result = json.loads((run / "result.json").read_text())
    assert result["positive"] == "dense tissue"
    assert result["metrics"]["auroc"]["value"] > 0.8
    assert result["metrics"]["auroc"]["ci95"] is None
