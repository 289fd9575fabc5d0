"""On a full disk commands end with a code, and no file that is cut looks complete."""

import contextlib
import json
import resource
import shutil
import sys

import pytest

from tests.core.cli.test_hostile_parts import hostile

__all__ = ["hostile"]
LIMITS = [300, 6_000, 20_000, 60_000]
"""Bytes of the largest file that can be written."""


@contextlib.contextmanager
def room(most):
    """No file can become longer, as on a disk that is full; the system then says why."""
    before, kept = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python itself does not notice that its byte code was cut
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = kept


@pytest.fixture
def told(moekit, monkeypatch):
    """Runs a command with little room; says whether it was refused for that."""
    # Its threads cannot write either, of which pytest makes errors of its own.
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "moekit-tensorboard")

    def call(most, *command):
        with room(most):
            outcome = moekit(*command)
        assert "Traceback" not in outcome.err
        if outcome.code:
            assert outcome.code == 1, (most, command, outcome.err)
            assert "[storage/cannot-write]" in outcome.err, (most, command, outcome.err)
        return bool(outcome.code)

    return call


def test_adapt_says_so_and_goes_on_when_there_is_room(hostile, moekit, told, tmp_path):
    data = ("--data", f"parts={tmp_path / 'parts'}")
    assert moekit("adapt", "hostile", *data, "--out", tmp_path / "whole").code == 0
    refused = []
    for most in LIMITS:
        out = tmp_path / f"run{most}"
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        if told(most, "adapt", "hostile", *data, "--out", out):
            refused.append(most)
            record = out / "run.json"
            assert not (record.exists() and json.loads(record.read_text())["done"])
            assert not list(out.rglob("*.tmp"))
            again = ("--resume",) * record.exists()
            assert moekit("adapt", "hostile", *data, "--out", out, *again).code == 0
            weights = [(one / "kit.safetensors").read_bytes() for one in (out, tmp_path / "whole")]
            assert weights[0] == weights[1]
    assert len(refused) >= 2


def test_evaluate_predict_report_and_export_say_so(hostile, moekit, told, tmp_path):
    run, data = tmp_path / "run", ("--data", f"parts={tmp_path / 'parts'}")
    assert moekit("adapt", "hostile", *data, "--out", run).code == 0
    images = tmp_path / "parts" / "test"
    refused = {"evaluate": 0, "predict": 0, "report": 0}
    for most in LIMITS:
        out = tmp_path / f"out{most}"
        if told(most, "evaluate", "hostile", *data, "--run", run):
            refused["evaluate"] += 1
            assert not (run / "result.json").exists()
        if told(most, "predict", "hostile", images, "--run", run, "--out", out):
            refused["predict"] += 1
            assert not (out / "predictions.csv").exists()
        assert moekit("predict", "hostile", images, "--run", run, "--out", out).code == 0
        assert (out / "predictions.csv").read_text().count("\n") == 9
        (run / "result.json").unlink(missing_ok=True)
    assert told(20_000, "export", "hostile", *data, "--run", run, "--format", "onnx")
    assert not (run / "export" / "onnx").exists()
    assert moekit("evaluate", "hostile", *data, "--run", run).code == 0
    for most in LIMITS:
        (run / "report.html").unlink(missing_ok=True)
        if told(most, "report", run):
            refused["report"] += 1
            assert not (run / "report.html").exists()
    assert all(refused.values()), refused
