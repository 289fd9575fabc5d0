"""Kits in the side stream, from the command line to the service: adapt, evaluate, report, serve."""

import contextlib
import json

import pytest

from moekit.cli.main import main
from moekit.plugins.registry import Registry
from moekit.report.report import render_report
from moekit.runs.run import Run
from moekit.runtime.runtime import Runtime
from moekit.serve.opening import open_service
from moekit.serve.options import ServeOptions
from moekit.serve.service import Service
from tests.core.serve.test_answers import opened


def command(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 0


@pytest.fixture(scope="module")
def placed(folder):
    """Runs by placement; the one in the side stream is evaluated too."""
    backbone = ("--weights", folder / "weights.safetensors", "--form", "none")
    data = ("industrial", "--data", f"folder={folder / 'parts'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(folder / "cache"))
        for placement in ("side", "none"):
            command(
                *("adapt", *data, "--out", folder / placement, *backbone),
                *("--architecture", "vit_tiny_patch16_224", "--placement", placement),
                *("--image-size", "48", "--epochs", "1", "--views", "1", "--precision", "fp32"),
            )
        command("evaluate", *data, "--run", folder / "side", *backbone)
    return {name: folder / name for name in ("side", "none", "all")}


def test_a_run_says_where_its_specialists_act(placed):
    for name, path in placed.items():
        assert Run(path).placement() == {"all": "trunk"}.get(name, name)
    result = json.loads((placed["side"] / "result.json").read_text())
    assert result["placement"] == "side"
    routing = json.loads((placed["side"] / "routing.json").read_text())
    assert {entry["block"] for entry in routing["specialists"]} == {7, 8, 9}
    page = render_report(placed["side"]).read_text()
    assert "in the side stream" in page


def test_the_runtime_answers_by_all_placements_at_once_as_by_each(placed, small, picture):
    runtime = Runtime(small, registry=Registry())
    pictures = opened([picture(seed, odd=seed % 2) for seed in range(3)])
    together = runtime.answer(pictures, kits=list(placed.values()))
    assert not together.failed
    for name in placed:
        alone = runtime.answer(pictures, kit=name)
        assert [one.score for one in together[name]] == [one.score for one in alone], name
    (one,) = runtime.plan(["side", "none"]).passes
    assert [(model.blocks, model.side_blocks) for model in one.models] == [(0, 3), (0, 0)]


def test_the_service_answers_by_them_and_its_receipts_tell_them_apart(
    placed, small, picture, serve
):
    with contextlib.closing(
        open_service(placed, options=ServeOptions(), backbone=small)
    ) as service:
        by_one = Service(service._runtime, service.facts, batch_size=1)
        reply = serve(by_one, batch_size=1).ask(picture(1, odd=True), kits=list(placed))
        assert reply.status_code == 200, reply.text
        (entry,) = reply.json()["images"]
        assert entry["answers"].keys() == placed.keys()
        said = {name: facts.settings.get("placement") for name, facts in service.facts.items()}
    assert said == {"side": "side", "none": "none", "all": None}
