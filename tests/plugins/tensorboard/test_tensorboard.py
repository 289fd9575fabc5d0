"""The tracker keeps the contract, and what it writes TensorBoard reads."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from moekit import Registry
from moekit.plugins.discovery import discover
from moekit.testing import parametrize_with_checks
from moekit.testing.reference import reference_events


@parametrize_with_checks("moekit-tensorboard")
def test_the_plugin_keeps_the_contract(check):
    check.run()


@pytest.fixture
def tracker():
    (plugin,) = [p for p in discover() if p.distribution == "moekit-tensorboard"]
    return Registry([plugin], strict=True)


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_metrics_of_an_evaluation_become_scalars(tracker, tmp_path):
    _, event = reference_events(tmp_path / "run", "run_finished")
    tracker.tell("run_finished", event)
    events = read(tmp_path / "run" / "tensorboard" / "evaluate")
    (scalar,) = events.Scalars("test/auroc")
    assert scalar.value == pytest.approx(event.record["metrics"]["auroc"]["value"])


def test_the_request_becomes_text(tracker, tmp_path):
    tracker.tell("run_started", reference_events(tmp_path / "run", "run_started")[0])
    events = read(tmp_path / "run" / "tensorboard" / "adapt")
    assert len(events.Tags()["tensors"]) == 1


def test_figures_that_are_undefined_are_left_out_of_the_curves(tracker, tmp_path):
    event, _ = reference_events(tmp_path / "run", "run_finished")
    path = tmp_path / "run" / "history.jsonl"
    epochs = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**one, "val_auroc": None}) + "\n" for one in epochs))
    tracker.tell("run_finished", event)
    names = read(tmp_path / "run" / "tensorboard" / "adapt").Tags()["scalars"]
    assert "val_loss" in names
    assert "val_auroc" not in names
