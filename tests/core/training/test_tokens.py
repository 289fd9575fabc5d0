"""Runs whose first blocks compute a share of the patches: learned, judged and answered alike."""

import dataclasses
import json
from importlib.metadata import version

import numpy as np
import pytest
from PIL import Image

from moekit import Runtime
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.report.report import render_report
from moekit.runs.run import Run
from moekit.runtime.kit import KitModules
from moekit.runtime.load import load_answerer, load_predictor
from moekit.runtime.tokens import named_gate, routing_of
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused
from moekit.training.prefix_plan import PrefixPlan

ROUTED = {"token_share": 0.2, "token_block": 0, "learning_rate": 0.1}


@pytest.fixture
def kit(kit):
    """Two blocks come before its own."""
    return dataclasses.replace(kit, slots=kit.slots[1:])


@pytest.fixture
def routed(recipe):
    """The recipe, with a quarter of the patches of the first blocks computed one by one."""
    return recipe.model_copy(update=ROUTED)


@pytest.fixture
def runs(tmp_path, finished_run, recipe, routed):
    """A run that computes all patches, and one that does not."""
    plain = recipe.model_copy(update={"learning_rate": ROUTED["learning_rate"]})
    finished_run(tmp_path / "all", recipe=plain)
    finished_run(tmp_path / "routed", recipe=routed)
    return {name: tmp_path / name for name in ("all", "routed")}


@pytest.fixture
def modules(kit, registry, small_backbone):
    return KitModules(spec=kit, registry=registry, backbone=small_backbone)


def test_what_was_stored_and_what_is_computed_now_agree_for_kit_and_baseline(
    runs, known, kit, small_backbone, cells
):
    job = EvaluateJob(kit=kit, dataset=cells, run=Run(runs["routed"]), split="val")
    result = evaluate(job, backbone=small_backbone, registry=known, on_progress=lambda *_: None)
    stored = Predictions.read_csv(runs["routed"] / "validation.csv")
    now = Predictions.read_csv(runs["routed"] / "predictions.csv")
    dense = Predictions.read_csv(runs["all"] / "validation.csv")
    for model in ("scores", "baseline_scores"):
        of_all, kept, found = (getattr(one, model) for one in (dense, stored, now))
        rounding = np.abs(found - kept).max()  # activations are stored in bfloat16
        assert rounding < 0.2 * np.abs(of_all - kept).max(), model
    assert result["backbone"]["tokens"] == {
        "gate": "moekit/texture",
        "gate_version": version("moekit"),
        "gate_sha256": None,
        "block": 0,
        "until": 2,
        "share": 0.2,
        "threshold": None,
        "window": 2,
    }


def test_the_report_shows_where_tokens_were_computed(
    runs, known, kit, small_backbone, cells, registry
):
    for name in ("routed", "all"):
        job = EvaluateJob(kit=kit, dataset=cells, run=Run(runs[name]), split="val")
        evaluate(job, backbone=small_backbone, registry=known, on_progress=lambda *_: None)
    index = json.loads((runs["routed"] / "tokens" / "index.json").read_text())
    assert len(index) == 4
    assert {entry["caption"] for entry in index} == {"47% of the tokens computed"}  # 8 of 17
    drawn = np.asarray(Image.open(runs["routed"] / "tokens" / index[0]["file"]).convert("L"))
    picture = Image.open(cells.split("val")[0].path).convert("L").resize(drawn.shape)
    light = (drawn / np.maximum(np.asarray(picture), 1)).reshape(4, 8, 4, 8).mean((1, 3))
    windows = light.reshape(2, 2, 2, 2).mean((1, 3))
    assert sorted((windows > 0.7).flatten()) == [False, False, False, True]
    assert not (runs["all"] / "tokens").exists()
    pages = {name: render_report(runs[name], registry=registry).read_text() for name in runs}
    assert [page.count("Where tokens were computed") for page in pages.values()] == [0, 1]
    assert pages["routed"].count("47% of the tokens computed") == 4


@pytest.mark.parametrize("use", ["specialist", "baseline"])
def test_each_model_of_a_run_has_the_routing_of_its_kit(use, runs, known, kit, small_backbone):
    predictor, _ = load_answerer(
        Run(runs["routed"]), kit, backbone=small_backbone, registry=known, use=use
    )
    assert (predictor.tokens.block, predictor.tokens.until) == (0, 2)
    plain = load_predictor(
        Run(runs["all"]), kit, backbone=small_backbone, registry=known, with_baseline=True
    )
    assert plain.tokens is None


def test_runs_with_and_without_a_routing_answer_together_as_each_does_alone(
    runs, known, small_backbone, cells
):
    paths = [sample.path for sample in cells.samples[:6]]
    together = Runtime(small_backbone, registry=known)
    alone = {}
    for name, folder in runs.items():
        together.load(folder, name=name)
        single = Runtime(small_backbone, registry=known)
        single.load(folder, name=name)
        alone[name] = [answer.score for answer in single.answer(paths, kit=name)]
    found = together.answer(paths, kits=list(runs))
    assert {name: [one.score for one in found[name]] for name in runs} == alone
    assert alone["all"] != alone["routed"]
    plan = together.plan(list(runs))
    assert [one.tokens is None for one in plan.passes] == [True, False]
    whole, part = (one.operations for one in plan.passes)
    assert part < whole


def test_a_routing_has_activations_of_its_own_and_others_keep_their_names(
    modules, small_backbone, routed, registry
):
    def name(tokens):
        plan = PrefixPlan.of(
            modules, small_backbone, views=1, arithmetic="fp32", size=32, tokens=tokens
        )
        return plan.name

    routing = routing_of(routed, modules, registry, width=32)
    other = named_gate("foreground", registry, width=32)
    names = {
        name(None),
        name(routing),
        name(dataclasses.replace(routing, share=0.5)),
        name(dataclasses.replace(routing, window=None)),
        name(dataclasses.replace(routing, gate=other)),
        name(dataclasses.replace(routing, gate=dataclasses.replace(other, version="0"))),
        name(dataclasses.replace(routing, gate=dataclasses.replace(other, sha256="0" * 64))),
    }
    assert len(names) == 7
    assert name(routing) == name(routing_of(routed, modules, registry, width=32))


def test_blocks_that_are_the_kits_own_cannot_be_routed(tmp_path, run_adapt, recipe):
    wrong = recipe.model_copy(update={"token_share": 0.5, "token_block": 2})
    with refused("usage/out-of-range", match="own blocks begin at 2"):
        run_adapt(tmp_path / "run", recipe=wrong)
    assert not (tmp_path / "run" / "run.json").exists()  # so the same command can be mended


def test_without_a_share_nothing_is_routed(recipe, modules, registry):
    assert routing_of(recipe, modules, registry, width=32) is None
    later = recipe.model_copy(update={"token_block": 7})
    assert routing_of(later, modules, registry, width=32) is None
