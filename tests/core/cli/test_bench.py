"""`moekit bench`, on a layer that is measured in no time."""

import dataclasses
import json

import pytest

from moekit.bench import suite
from moekit.bench.peers import LayerSize

TINY = LayerSize(width=32, hidden=16, experts=4, top_k=2)


@pytest.fixture
def tiny(monkeypatch):
    def layer(plan, tell):
        return suite.layer(dataclasses.replace(plan, size=TINY, tokens=(16,)), tell)

    monkeypatch.setattr(suite, "BENCHMARKS", {"layer": layer})


def test_bench_writes_json_and_drawing_and_tells_its_progress(moekit, tiny, tmp_path):
    arguments = ("--dtype", "fp32", "--threads", 1, "--seconds", 0.01, "--out", tmp_path / "out")
    outcome = moekit("bench", "layer", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {row["dtype"] for row in outcome.json["benchmarks"]["layer"]} == {"fp32"}
    assert "tokens 16: moekit" in outcome.err
    assert (tmp_path / "out" / "bench.svg").is_file()


def test_an_unknown_benchmark_is_a_wrong_call(moekit, tmp_path):
    outcome = moekit("bench", "nonesuch", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "layer, scaling, backbone" in outcome.err
    assert not (tmp_path / "out").exists()
