"""Token gates of plugins, and those that a run trains."""

import dataclasses
import json

import pytest
import torch

import moekit
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.jobs.adapt import chosen_recipe
from moekit.moe.learned_token_gate import LearnedTokenGate
from moekit.runs.run import Run
from moekit.runtime.load import load_predictor
from moekit.runtime.tokens import named_gate
from moekit.sealed import SEAL
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused

ROUTED = {"token_share": 0.2, "token_block": 0}


class Middle:
    """Middle rows first; counts its calls."""

    calls = 0

    def __init__(self, width):
        assert width == 32

    def __call__(self, patch_BPD, grid, *, picture):
        Middle.calls += 1
        near_R = -(torch.arange(grid.rows) - (grid.rows - 1) / 2).abs()
        return near_R.repeat_interleave(grid.columns).expand(len(patch_BPD), -1)


class Failing(LearnedTokenGate):
    def forward(self, patch_BPD, grid, *, picture):
        raise SystemExit("no")


class Hooks:
    @moekit.hookimpl
    def moekit_token_gates(self):
        def spec(name, build, *, learned=False):
            return moekit.TokenGateSpec(
                name=name, build=build, summary="-", source="the tests", learned=learned
            )

        return [
            spec("middle", Middle),
            spec("texture", Middle),
            spec("own", LearnedTokenGate, learned=True),
            spec("failing", Failing, learned=True),
            spec("weightless", Middle, learned=True),
            spec("unbuilt", lambda width: 1 / 0),
            spec("number", lambda width: 3),
        ]


@pytest.fixture
def registry(registry):
    registry.register(Hooks(), distribution="mine")
    return registry


@pytest.fixture
def kit(kit):
    """Two blocks come before its own."""
    return dataclasses.replace(kit, slots=kit.slots[1:])


@pytest.fixture
def with_gate(recipe):
    return lambda name, **more: recipe.model_copy(update={**ROUTED, "token_gate": name, **more})


@pytest.fixture
def learned(tmp_path, finished_run, with_gate):
    """A run whose gate is learned, and its record."""
    return tmp_path / "run", finished_run(tmp_path / "run", recipe=with_gate("moekit/learned"))


def test_a_run_takes_the_gate_of_a_plugin_and_names_it(
    tmp_path, run_adapt, with_gate, known, kit, small_backbone, cells
):
    Middle.calls = 0
    record = run_adapt(tmp_path / "run", recipe=with_gate("mine/middle"))
    assert Middle.calls
    assert record["request"]["recipe"]["token_gate"] == "mine/middle"
    assert "mine" in [plugin["distribution"] for plugin in record["plugins"]]
    job = EvaluateJob(kit=kit, dataset=cells, run=Run(tmp_path / "run"), split="val")
    result = evaluate(job, backbone=small_backbone, registry=known, on_progress=lambda *_: None)
    assert result["backbone"]["tokens"]["gate"] == "mine/middle"


def test_the_gate_that_a_user_names_is_recorded_by_its_full_name(recipe, registry):
    def chosen(**fields):
        return chosen_recipe(recipe, fields, registry).token_gate

    assert chosen(token_share=0.5) == "moekit/texture"
    assert chosen(token_share=0.5, token_gate="middle") == "mine/middle"
    assert chosen(token_share=0.5, token_gate="learned") == "moekit/learned"
    with refused("usage/unknown-name", match="middle"):
        chosen(token_share=0.5, token_gate="midle")
    with refused("usage/ambiguous-name"):
        chosen(token_share=0.5, token_gate="texture")
    with refused("usage/option-conflict", match="token-share"):
        chosen(token_gate="middle")


def test_a_block_or_window_of_tokens_is_refused_if_all_tokens_are_computed(recipe, registry):
    for fields in ({"token_block": 0}, {"token_window": None}, {"token_window": 4}):
        with refused("usage/option-conflict", match="token-share"):
            chosen_recipe(recipe, fields, registry)
    routed = chosen_recipe(recipe, {"token_share": 0.5, "token_window": None}, registry)
    assert routed.token_window is None


def test_the_recipe_of_a_kit_means_its_own_plugins_gate(recipe, registry, kit):
    def named(name):
        own = dataclasses.replace(kit, recipe=recipe.model_copy(update={"token_gate": name}))
        return registry._with_full_names(own, "mine").recipe.token_gate

    assert named("texture") == "mine/texture"
    assert named("motion") == "moekit/motion"


def test_a_short_name_that_two_plugins_have_is_refused(registry):
    with refused("usage/ambiguous-name"):
        named_gate("texture", registry, width=32)
    assert isinstance(named_gate("mine/texture", registry, width=32).gate, Middle)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("unbuilt", "plugin/run-failed", "ZeroDivisionError"),
        ("number", "plugin/bad-gate", "not callable"),
        ("weightless", "plugin/bad-gate", "no module with weights"),
    ],
)
def test_a_gate_that_cannot_be_built_is_named(name, code, said, registry):
    with refused(code, match=said) as caught:
        named_gate(name, registry, width=32)
    assert caught.value.whose == f"token gate mine/{name}"


def test_a_gate_that_fails_while_it_learns_is_named(tmp_path, run_adapt, with_gate):
    with refused("plugin/run-failed", match="SystemExit") as caught:
        run_adapt(tmp_path / "run", recipe=with_gate("mine/failing"))
    assert caught.value.whose == "token gate mine/failing"


def test_the_learned_gate_foretells_what_is_lost(learned):
    folder, record = learned
    facts = record["token_gate"]
    assert facts["rank_correlation"] > 0.3
    assert (facts["samples"], facts["judged_on"]) == (32, 8)
    assert record["request"]["recipe"]["token_gate"] == "moekit/learned"
    assert (folder / "token_gate.safetensors").is_file()


def test_evaluation_answers_with_the_gate_that_the_run_learned(
    learned, known, kit, small_backbone, cells
):
    folder, record = learned
    job = EvaluateJob(kit=kit, dataset=cells, run=Run(folder), split="val")
    result = evaluate(job, backbone=small_backbone, registry=known, on_progress=lambda *_: None)
    assert result["backbone"]["tokens"]["gate_sha256"] == record["token_gate"]["sha256"]
    stored = Predictions.read_csv(folder / "validation.csv")
    now = Predictions.read_csv(folder / "predictions.csv")
    assert abs(stored.scores - now.scores).max() < 0.02  # activations are stored in bfloat16


def test_the_seed_decides_what_is_learned(tmp_path, learned, run_adapt, with_gate):
    _, first = learned
    again = run_adapt(tmp_path / "again", recipe=with_gate("moekit/learned"))
    other = run_adapt(tmp_path / "other", recipe=with_gate("moekit/learned"), seed=1)
    hashes = [one["token_gate"]["sha256"] for one in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_plugins_own_network_learns_too(tmp_path, run_adapt, with_gate, learned):
    record = run_adapt(tmp_path / "own", recipe=with_gate("mine/own"))
    assert record["token_gate"]["sha256"] == learned[1]["token_gate"]["sha256"]


def test_a_run_that_is_gone_on_with_keeps_its_gate(tmp_path, run_adapt, with_gate, monkeypatch):
    def stop(part, _):
        if part == "kit":
            raise KeyboardInterrupt

    recipe = with_gate("moekit/learned")
    with pytest.raises(KeyboardInterrupt):
        run_adapt(tmp_path / "run", recipe=recipe, on_epoch=stop)
    kept = json.loads((tmp_path / "run" / "checkpoints" / "token_gate.json").read_text())
    monkeypatch.setattr("moekit.training.token_gate.teach", None)  # it must not be asked again
    record = run_adapt(tmp_path / "run", recipe=recipe, resume=True)
    del kept[SEAL]
    assert record["token_gate"] == kept


def test_weights_of_a_gate_that_have_changed_are_refused(
    learned, known, kit, small_backbone, registry
):
    folder, _ = learned
    path = folder / "token_gate.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with refused("weights/damaged"):
        load_predictor(
            Run(folder), kit, backbone=small_backbone, registry=known, with_baseline=True
        )


def test_runs_whose_gates_learned_the_same_share_a_pass(
    tmp_path, learned, finished_run, with_gate, known, small_backbone
):
    finished_run(tmp_path / "twin", recipe=with_gate("moekit/learned", epochs=2))
    runtime = moekit.Runtime(small_backbone, registry=known)
    for name in ("run", "twin"):
        runtime.load(tmp_path / name, name=name)
    assert len(runtime.plan(["run", "twin"]).passes) == 1
