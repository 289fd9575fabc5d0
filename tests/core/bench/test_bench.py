"""The benchmarks, on tiny shapes: what they measure, their JSON and their drawing."""

from __future__ import annotations

import dataclasses
import json
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from moekit.bench import suite
from moekit.bench.peers import LayerSize, PlainLoop, layer_candidates
from moekit.bench.results import charts, results, write_results
from moekit.bench.suite import Plan, run_benchmarks
from moekit.bench.timing import compare, threads
from moekit.moe.instructions import cpu_computes_bf16
from moekit.testing import refused

SIZE = LayerSize(width=32, hidden=16, experts=4, top_k=2)
FIELDS = {"dtype", "threads", "name", "milliseconds", "ratio", "ratio_q25", "ratio_q75", "rounds"}
SETTINGS = {
    "layer": {"tokens"},
    "scaling": {"series", "at", "tokens"},
    "backbone": {"images"},
    "kits": {"images", "placement", "expected"},
    "tokens": {"side", "block", "window"},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    architecture = "vit_tiny_patch16_224"
    model = timm.create_model(architecture, pretrained=False, num_classes=0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(model.state_dict(), path)
    return Plan(
        dtypes=("fp32", "bf16") if cpu_computes_bf16() else ("fp32",),
        threads=(1,),
        seconds=0.01,
        size=SIZE,
        tokens=(16, 32),
        experts=(2, 4),
        batches=(1,),
        top_ks=(4, 16),
        image_size=32,
        images=1,
        kits=(1, 3),
        token_sides=(32, 45),
        token_shares=(0.25, 0.5),
        architecture=architecture,
        weights=str(path),
    )


@pytest.fixture(scope="module")
def found(plan: Plan) -> dict[str, Any]:
    told: list[str] = []
    rows = run_benchmarks((), plan, told.append)
    assert len(told) == len(plan.dtypes) * (2 + 3 + 1 + 4 + 2)
    return results(rows, plan, command="moekit bench")


def test_each_row_has_its_setting_and_a_ratio_with_its_spread(found: dict[str, Any]) -> None:
    assert set(found["benchmarks"]) == set(SETTINGS)
    for name, rows in found["benchmarks"].items():
        assert rows
        for row in rows:
            assert set(row) == FIELDS | SETTINGS[name]
            assert 0 < row["ratio_q25"] <= row["ratio"] <= row["ratio_q75"]
            assert row["milliseconds"] > 0
            assert row["rounds"] >= 5
            if row["name"] in ("dense", "one kit"):
                assert row["ratio_q25"] == row["ratio_q75"] == 1


def test_the_candidates_are_those_that_a_reader_expects(found: dict[str, Any]) -> None:
    names = {row["name"] for row in found["benchmarks"]["layer"]}
    assert {"dense", "moekit", "moekit weighted", "all experts", "plain loop"} <= names
    assert {row["name"] for row in found["benchmarks"]["backbone"]} == {
        "dense",
        "top_k 4",
        "top_k 16",
    }


def test_tokens_are_measured_at_each_share_and_side(found: dict[str, Any]) -> None:
    rows = [row for row in found["benchmarks"]["tokens"] if row["dtype"] == "fp32"]
    names = ["dense", "keep 0.25", "keep 0.5", "merge 0.25", "merge 0.5"]
    assert [(row["side"], row["name"]) for row in rows] == [
        (side, name) for side in (32, 48) for name in names
    ]


def test_results_name_the_machine_and_the_versions(found: dict[str, Any]) -> None:
    assert {"torch", "transformers"} <= set(found["versions"])
    assert found["machine"]["cpu_count"] >= 1
    assert found["baseline"] == "dense"


def test_json_and_drawing_are_written_and_valid(
    plan: Plan, found: dict[str, Any], tmp_path: Path
) -> None:
    json_path, svg_path = write_results(found, tmp_path / "out")
    assert json.loads(json_path.read_text()) == found
    root = ElementTree.parse(svg_path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    inner = root.findall(".//{http://www.w3.org/2000/svg}svg")
    assert len(inner) == len(charts(found["benchmarks"])) == len(plan.dtypes) * 6
    assert "nan" not in svg_path.read_text()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_all_candidates_of_a_layer_take_and_give_the_same_shape(dtype: torch.dtype) -> None:
    x_BND = torch.randn(2, 9, SIZE.width).to(dtype)
    with torch.inference_mode():
        for name, forward in layer_candidates(SIZE, dtype, 18).items():
            y_BND = forward(x_BND)
            assert (y_BND.shape, y_BND.dtype) == (x_BND.shape, dtype), name


def test_the_plain_loop_is_the_weighted_sum_of_its_experts() -> None:
    block = PlainLoop(dataclasses.replace(SIZE, top_k=SIZE.experts)).eval()
    x_BND = torch.randn(1, 5, SIZE.width)
    weight_BNE = block.router(x_BND).softmax(-1)
    outputs = torch.stack([expert(x_BND) for expert in block.experts])
    expected = torch.einsum("ebnd,bne->bnd", outputs, weight_BNE)
    torch.testing.assert_close(block(x_BND), expected)


def test_a_slower_call_has_a_greater_ratio() -> None:
    def work(count: int) -> object:
        return lambda _: sum(range(count))

    calls = {"fast": work(20_000), "slow": work(200_000)}
    timings = compare(calls, baseline="fast", seconds=0.05)  # type: ignore[arg-type]
    assert timings["fast"].ratio == 1
    assert timings["slow"].ratio > 3


def test_with_one_thread_waiting_does_not_count() -> None:
    calls = {"waits": lambda _: time.sleep(0.01), "works": lambda _: sum(range(200_000))}
    with threads(1):
        timings = compare(calls, baseline="works", seconds=0.01)
    assert timings["waits"].ratio < 0.5


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_an_unknown_benchmark_is_refused_before_any_runs(plan: Plan) -> None:
    told: list[str] = []
    with refused("usage/unknown-name", match="nonesuch"):
        run_benchmarks(("layer", "nonesuch"), plan, told.append)
    assert not told


def test_the_benchmarks_are_those_that_the_command_names() -> None:
    from moekit.cli.bench import measure

    assert measure.help is not None
    assert ", ".join(suite.BENCHMARKS) in measure.help
