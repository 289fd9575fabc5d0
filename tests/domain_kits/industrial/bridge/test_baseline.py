"""`moekit anomalib`: real fits of real models on a few small images."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from bridge_options import OPTIONS, PADIM, PATCHCORE
from scipy.stats import rankdata

from moekit.tasks.score.metrics import auroc
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused
from moekit_industrial.bridge.fitted import load_fitted
from moekit_industrial.bridge.run import preprocess_of
from moekit_industrial.bridge.scores import raw_output
from moekit_industrial.loaders.named import load_mvtec

FILES = {
    "model.json",
    "model.safetensors",
    "overlays",
    "predictions.csv",
    "raw_scores.csv",
    "result.json",
    "validation.csv",
}


def read_raw(out, split):
    with (out / "raw_scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return np.array([float(row["raw_score"]) for row in rows]), [row["id"] for row in rows]


@pytest.mark.parametrize("name", ["patchcore", "padim"])
def test_a_run_has_the_files_and_figures_of_an_evaluation(request, name):
    result, out = request.getfixturevalue(name)
    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "result.json").read_text()) == json.loads(json.dumps(result))
    assert result["model"]["shared_backbones"] == 1
    assert result["n"] == 16
    assert list(result["metrics"])[:1] == ["auroc"]
    assert {"pixel_auroc", "aupro", "aupro_5", "escape_rate", "overkill_rate"} <= set(
        result["metrics"]
    )
    assert result["metrics"]["aupro"]["value"] > 0.3
    assert result["threshold"]["rule"] == OPTIONS["threshold_rule"]
    assert result["resources"]["fit_seconds"] > 0
    assert result["resources"]["peak_memory_bytes"] > 2**28
    assert result["throughput"]["batch_size"] == 8


@pytest.mark.parametrize("name", ["patchcore", "padim"])
def test_scores_are_the_raw_ones_in_their_order_and_none_is_clamped(request, name):
    result, out = request.getfixturevalue(name)
    raw, ids = read_raw(out, "test")
    scored = Predictions.read_csv(out / "predictions.csv")
    assert list(scored.ids) == ids
    assert raw.max() > 1.0  # distances, which anomalib's post-processing would cut to [0, 1]
    assert len(np.unique(raw)) == len(raw)
    assert (rankdata(scored.scores) == rankdata(raw)).all()
    assert result["metrics"]["auroc"]["value"] == pytest.approx(auroc(raw, scored.labels))
    low, high = result["auroc_delong_ci95"] or (0, 1)
    assert low <= result["metrics"]["auroc"]["value"] <= high


def test_the_threshold_is_of_good_validation_parts(patchcore):
    result, out = patchcore
    raw, _ = read_raw(out, "val")
    kept = Predictions.read_csv(out / "validation.csv")
    assert (kept.labels == 0).all()
    assert result["threshold"]["n"] == len(raw) == 6
    alarms = (kept.scores >= result["threshold"]["value"]).mean()
    assert alarms <= 0.25
    assert (
        (raw >= result["threshold"]["raw"]) == (kept.scores >= result["threshold"]["value"])
    ).all()


def test_a_fitted_model_comes_back_and_scores_alike(patchcore, line, weights):
    _, out = patchcore
    model, size = load_fitted(out, weights)
    preprocess = preprocess_of(model, size)
    samples = load_mvtec(line, 0).split("test")[:3]
    images = torch.stack([preprocess(sample.path) for sample in samples])
    score_B, map_BHW = raw_output(model, images)
    raw, ids = read_raw(out, "test")
    assert ids[:3] == [sample.id for sample in samples]
    assert score_B.numpy() == pytest.approx(raw[:3], rel=1e-4)
    assert map_BHW.shape == (3, 56, 56)


def test_a_damaged_model_is_refused_before_it_is_read(patchcore, weights, tmp_path):
    copy = shutil.copytree(patchcore[1], tmp_path / "copy")
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(data))
    with refused("weights/damaged"):
        load_fitted(copy, weights)


def test_the_same_seed_gives_the_same_scores(padim, fit):
    again, out = fit("padim", *PADIM)
    assert (read_raw(out, "test")[0] == read_raw(padim[1], "test")[0]).all()
    _, other = fit("padim", *PADIM, seed=1)
    assert (read_raw(other, "test")[0] != read_raw(padim[1], "test")[0]).any()
    assert again["seed"] == 0


def test_a_memory_bank_is_drawn_from_before_it_is_thinned_out(fit, weights):
    result, out = fit("Patchcore", *PATCHCORE, presample=100)
    assert result["model"]["presample"] == 100
    assert len(load_fitted(out, weights)[0].model.memory_bank) == 20
    with refused("usage/option-conflict"):
        fit("Padim", *PADIM, presample=100)


def test_a_model_that_is_trained_by_gradients_stops_after_its_steps(fit):
    encoder = "encoder_name=vit_small_patch14_dinov2"
    result, _ = fit("Dinomaly", encoder, max_steps=2)
    assert result["model"]["max_steps"] == 2
    assert result["parameters"]["trained"] > 1_000_000
    assert result["metrics"]["auroc"]["value"] is not None


def test_the_licences_of_backbone_plugins_and_data_are_recorded(fit, line, tmp_path):
    licensed = shutil.copytree(line, tmp_path / "licensed")
    (licensed / "LICENSE").write_text("CC-BY-NC-4.0\n")
    result, _ = fit("Padim", *PADIM, data=f"mvtec={licensed}")
    kinds = [part["what"] for part in result["licences"]["parts"]]
    assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == ("backbone", {"plugin"}, "data")
    data = result["licences"]["parts"][-1]
    assert data["licence"] == result["data"]["licence"] == "CC-BY-NC-4.0"


def test_a_model_without_a_backbone_of_timms_runs_and_says_so(fit):
    result, _ = fit("Ganomaly", "batch_size=8", max_steps=2, image_size=64)
    assert result["model"]["shared_backbones"] == 0
    assert "no shared weights" in result["disclaimer"]
    assert result["backbone"]["sha256"] == "none"
    assert "backbone" not in [part["what"] for part in result["licences"]["parts"]]


def test_the_report_reads_such_a_run(padim, moekit):
    out = padim[1]
    done = moekit("report", out)
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert done.code == 0, done.err
    assert "Padim of anomalib" in page
    assert "Defect types" in page
    assert "routing.json" not in page
    assert "history.jsonl" not in page


def test_without_masks_the_figures_of_maps_are_left_out_and_it_is_said(fit, line, tmp_path):
    bare = shutil.copytree(line, tmp_path / "bare")
    for folder in bare.glob("*/ground_truth"):
        shutil.rmtree(folder)
    result, _ = fit("Padim", *PADIM, data=f"mvtec={bare}")
    assert "aupro" not in result["metrics"] or result["metrics"]["aupro"]["value"] is None
    assert any("not computed" in note for note in result["notes"])
    assert result["metrics"]["auroc"]["value"] is not None


def test_a_training_image_that_cannot_be_read_is_left_out_by_name(fit, line, tmp_path):
    broken = shutil.copytree(line, tmp_path / "broken")
    path = broken / "bolt" / "train" / "good" / "000.png"
    path.write_bytes(path.read_bytes()[:60])
    result, _ = fit("Padim", *PADIM, data=f"mvtec={broken}")
    assert any("bolt/train/good/000.png" in skip["id"] for skip in result["skipped"])


def test_a_rule_that_good_parts_do_not_do_for_is_refused_before_the_fitting(fit):
    with refused("data/one-class"):
        fit("Patchcore", *PATCHCORE, threshold_rule="f1")
    with refused("usage/unknown-rule"):
        fit("Patchcore", *PATCHCORE, threshold_rule="tail=2")


def test_a_model_that_fails_is_named(fit):
    with refused("plugin/model-failed", match="Padim"):
        fit("Padim", *PADIM, image_size=50)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("Patchcor",), 2, "[usage/unknown-name]"),
        (("Padim", "--set=n_features"), 2, "[usage/bad-argument]"),
        (("Padim", "--set=backbone=resnet18", "--set=layers=['layer1']"), 4, "resnet18"),
        (("Padim", "--data=mvtec=nowhere"), 4, "nowhere"),
        (("Padim", "--architecture=vit_nothing"), 2, "vit_nothing"),
    ],
)
def test_wrong_calls_end_with_three_lines(moekit, line, tmp_path, arguments, code, said):
    options = [f"--data=mvtec={line}", f"--out={tmp_path / 'run'}", "--image-size=56"]
    rule = f"--threshold-rule={OPTIONS['threshold_rule']}"
    done = moekit("anomalib", *options, rule, *arguments)
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 3
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_refused(moekit, line, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = moekit("anomalib", "Padim", f"--data=mvtec={line}", f"--out={tmp_path}")
    assert (done.code, "[usage/foreign-folder]" in done.err) == (2, True)


def test_the_command_prints_one_json_object(moekit, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [f"--set={text}" for text in PADIM]
    rule = f"--threshold-rule={OPTIONS['threshold_rule']}"
    done = moekit(
        "anomalib", "Padim", f"--data=mvtec={line}", "--out=run", "--image-size=56", rule, *options,
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["kit"] == "anomalib"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
