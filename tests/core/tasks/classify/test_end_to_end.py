"""Kits of the task are adapted and evaluated on its example, on a small backbone."""

import dataclasses
import json

import pytest

from moekit import Registry
from moekit.tasks.classify import CLASSIFY, ClassHead, PrototypeHead, fit_prototypes
from moekit.tasks.classify.store import load_tallies
from moekit.testing.reference import run_kit
from tests.small_parts import COLOURS


@pytest.mark.parametrize(
    ("head", "fit"),
    [(ClassHead, None), (PrototypeHead, fit_prototypes)],
    ids=["trained", "prototypes"],
)
def test_a_kit_is_adapted_and_evaluated(tmp_path, monkeypatch, head, fit):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "example").mkdir()
    dataset = CLASSIFY.example(tmp_path / "example")
    kit = dataclasses.replace(COLOURS, build_head=head, fit=fit)
    run_kit(kit, dataset, tmp_path / "run", Registry())
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["task"] == "classify"
    assert next(iter(result["metrics"])).rpartition("/")[2] == "balanced_accuracy"
    assert [row["n"] for row in result["per_class"]] == [4, 4, 4]
    assert result["point"]["rule"] == "top"
    assert "mcnemar_p" in result["comparison"]
    kit_tally, baseline = load_tallies(tmp_path / "run", "predictions")
    assert kit_tally.ids == baseline.ids
    assert kit_tally.classes == dataset.classes
    if fit is not None:
        assert result["metrics"]["top1"]["value"] > 0.9
