"""The kit's tasks from data to answers, as the commands make them, on small made-up images."""

import json

import numpy as np
import pytest
from PIL import Image

from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.kit import MEDICAL
from moekit_medical.loaders.lesions import CLASSES, LESIONS


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def test_the_kit_offers_its_tasks_and_says_what_it_is_not_for_in_each():
    tasks = (MEDICAL, *MEDICAL.variants)
    assert [one.task for one in tasks] == [
        *("score", "classify", "segment"),
        *("moekit-detection/detect", "moekit-detection/instances"),
    ]
    assert {one.name for one in tasks} == {"medical"}
    assert {one.disclaimer for one in tasks} == {DISCLAIMER}


def _same_everywhere(folder, *words):
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".csv", ".html", ".jsonl", ".md", ".txt"):
            told = path.read_text(encoding="utf-8")
            for word in words:
                assert word not in told, path.name


def test_lesions_are_learned_judged_and_outlined(tmp_path, adapted, moekit):
    folder = tmp_path / "Doe_Jane"
    folder.mkdir()
    LESIONS.example(folder)
    run = adapted("medical", f"lesions={folder}", task="segment", image_size=112)
    done = moekit(
        "evaluate",
        "medical",
        "--data",
        f"lesions={folder}",
        "--run",
        run,
        "--device",
        "cpu",
        "--json",
    )
    assert not done.code, done.err
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert {"miou", "dice"} <= set(result["metrics"])
    assert result["disclaimer"] == DISCLAIMER
    out = tmp_path / "out"
    done = moekit(
        "predict", "medical", folder, "--run", run, "--out", out, "--device", "cpu", "--json"
    )
    assert not done.code, done.err
    assert done.json["outlined"] == 6
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["disclaimer"] == DISCLAIMER
    assert all("volume_mm3" in record for record in summary["series"])
    _same_everywhere(out, "Doe_Jane", "made-up", str(tmp_path))
    _same_everywhere(run, "made-up")


def test_lesions_are_found_one_by_one_and_become_segments(tmp_path, adapted, moekit):
    (tmp_path / "set").mkdir()
    LESIONS.example(tmp_path / "set")
    data = f"lesions={tmp_path / 'set'}"
    run = adapted("medical", data, task="instances", image_size=112)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert any("connected regions" in note for note in record["notes"])
    done = moekit(
        *("predict", "medical", tmp_path / "set", "--run", run),
        *("--out", tmp_path / "out", "--device", "cpu", "--json"),
    )
    assert not done.code, done.err
    assert done.json["outlined"] == 6
    assert done.json["disclaimer"] == DISCLAIMER
    _same_everywhere(tmp_path / "out", "made-up", str(tmp_path))


def test_classes_of_a_folder_are_told_apart(tmp_path, adapted, moekit):
    generator = np.random.default_rng(0)
    for number, name in enumerate(("ground_glass", "other", "solid")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for picture in range(12):
            pixels = generator.integers(0, 90, (32, 32), dtype=np.uint8)
            pixels[10:22, 10:22] += np.uint8(70 * number)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{picture}.png")
    run = adapted("medical", f"folder={tmp_path / 'set'}", task="classify")
    done = moekit(
        *("predict", "medical", tmp_path / "set" / "solid", "--run", run),
        *("--out", tmp_path / "out", "--device", "cpu", "--json"),
    )
    assert not done.code, done.err
    verdicts = {row["verdict"] for row in done.json["predictions"]}
    assert verdicts <= {"ground_glass", "other", "solid", "none of these"}
    assert done.json["disclaimer"] == DISCLAIMER


def test_class_numbers_of_masks_are_those_of_the_classes():
    assert CLASSES == ("background", "lesion")
