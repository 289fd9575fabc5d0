"""A run that learned from good images only, from its adaptation to the scores of its graph."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

ARCHITECTURE = "vit_tiny_patch16_224"


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """40 functional solar cells in the folder cells, 20 others in the folder fresh."""
    pytest.importorskip("elpv_dataset", reason="the photographs come with elpv-dataset")
    source = Path(str(files("elpv_dataset"))) / "data"
    lines = [line.split() for line in (source / "labels.csv").read_text().splitlines()]
    for number, (name, *_) in enumerate([line for line in lines if line[1] == "0.0"][:60]):
        folder = tmp_path / ("cells" if number < 40 else "fresh")
        folder.mkdir(exist_ok=True)
        shutil.copy(source / name, folder)
    return tmp_path / "cells"


def test_its_graph_in_int8_scores_and_tells_products_as_the_run(
    moekit: Callable[..., Any], cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf", reason="needs the extra `export`")
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model(ARCHITECTURE, num_classes=0).state_dict(), weights)
    run, data = tmp_path / "run", ("--data", f"good={cells}")
    chosen = ("--weights", weights, "--form", "none")
    adapted = moekit(
        *("adapt", "industrial", *data, "--out", run, "--architecture", ARCHITECTURE, *chosen),
        *("--image-size", 112, "--precision", "fp32", "--device", "cpu"),
        *("--token-gate", "background"),
    )
    assert adapted.code == 0, adapted.err
    int8 = ("--int8", "--allow-slower")  # of a tiny network products are not what takes time
    exported = moekit("export", "industrial", *data, "--run", run, "--json", *int8, *chosen)
    assert exported.code == 0, exported.err
    record = exported.json
    assert record["outputs"] == ["score", "logit", "map", "kind"]
    assert record["kinds"] == ["cells"]
    parity = record["parity"]["fields"]
    assert parity["score_B"]["greatest"] <= 1e-4
    accuracy = record["quantisation"]["accuracy"]
    assert accuracy["greatest_drift"] > 0
    scored = []
    in_torch = ("--precision", "fp32", "--device", "cpu", *chosen)
    for number, how in enumerate((in_torch, ("--backend", "openvino-int8"))):
        predicted = moekit(
            *("predict", "industrial", cells.with_name("fresh"), "--run", run, "--json", *how),
            *("--out", tmp_path / str(number)),
        )
        assert predicted.code == 0, predicted.err
        scored.append(predicted.json["predictions"])
    assert len(scored[0]) == 20
    for torch_row, graph_row in zip(*scored, strict=True):
        assert graph_row["score"] == pytest.approx(torch_row["score"], abs=0.05)
        assert graph_row["kind"] == torch_row["kind"] == "cells"
