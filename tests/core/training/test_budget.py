"""A share of the dense arithmetic: which tokens are computed is chosen on validation data."""

import dataclasses

import pytest

from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.jobs.adapt import chosen_recipe
from moekit.report.compute import compute_section
from moekit.report.report import render_report
from moekit.runs.run import Run
from moekit.runs.schema import read_record
from moekit.runtime.kit import KitModules
from moekit.runtime.load import load_answerer
from moekit.runtime.plan import plan_passes
from moekit.testing import refused
from moekit.training import budget
from moekit.training.budget import Budgeting, within_budget


@pytest.fixture
def kit(kit):
    """Two blocks come before its own."""
    return dataclasses.replace(kit, slots=kit.slots[1:])


@pytest.fixture
def cache(cache, monkeypatch):
    monkeypatch.setattr(budget, "cache_folder", lambda: cache)
    monkeypatch.setattr(budget, "_LOOKED_AT", 2)
    monkeypatch.setattr(budget, "LEAST", 1)
    return cache


@pytest.fixture
def asked(tmp_path, kit, cells, small_backbone, registry, fabric, recipe, cache):
    """What is chosen for a budget, and what is recorded of it."""

    def call(share, *, run=None, **changes):
        fields = {
            "budget": share,
            "kit": kit,
            "dataset": cells,
            "run": Run(tmp_path / "run") if run is None else run,
            "recipe": recipe,
            "backbone": small_backbone,
            "registry": registry,
            "fabric": fabric,
            "top_k": None,
            "rule": "",
            "seed": 0,
            "cache_limit": 2**30,
            "on_progress": lambda *_: None,
        }
        return within_budget(Budgeting(**{**fields, **changes}))

    return call


def test_a_share_is_kept_by_the_setting_that_changes_features_least(asked):
    recipe, record = asked(0.9)
    compared = record["compared"]
    assert len(compared) > 1
    assert all(one["arithmetic"] <= 0.9 for one in compared)
    best = min(compared, key=lambda one: one["change"])
    assert recipe.token_share == best["token_share"] < 1
    assert (recipe.token_block, recipe.token_window) == (best["token_block"], best["token_window"])
    assert record["arithmetic"] == best["arithmetic"]
    assert f"{best['arithmetic']:.0%} of the dense" in record["in_words"][0]


def test_more_arithmetic_changes_features_less(asked):
    changes = [min(one["change"] for one in asked(share)[1]["compared"]) for share in (0.7, 0.95)]
    assert changes[0] > changes[1] > 0


def test_a_share_that_the_kits_own_blocks_pass_is_refused_with_the_least_one(asked):
    with refused("usage/out-of-range", match="is the least"):
        asked(0.2)


def test_auto_stops_at_the_fastest_setting_that_keeps_the_headline(asked, monkeypatch):
    monkeypatch.setattr(budget, "ALLOWED", 1.0)
    recipe, record = asked("auto")
    assert record["headline"] == "auroc"
    dense, fastest = record["measured"]
    assert dense["arithmetic"] == 1
    assert fastest["recipe"] == record["recipe"]
    assert fastest["loss"] == pytest.approx(dense["value"] - fastest["value"])
    assert recipe.token_share == fastest["recipe"]["token_share"]
    assert recipe.views == 2, "one view is for the choice only"


def test_auto_computes_all_tokens_if_nothing_keeps_the_headline(asked, monkeypatch):
    monkeypatch.setattr(budget, "ALLOWED", -2.0)
    monkeypatch.setattr(budget, "LEVELS", (0.7, 0.95))
    recipe, record = asked("auto")
    assert recipe.token_share == 1
    assert record["recipe"] == {"token_share": 1.0}
    shares = [one["arithmetic"] for one in record["measured"]]
    assert len(shares) > 2
    assert shares[1:] == sorted(shares[1:])
    assert "all tokens are computed" in record["in_words"][0]


@pytest.mark.filterwarnings("ignore:No positive samples")
def test_auto_computes_all_tokens_if_the_headline_is_not_defined(asked, cells):
    good = [one for one in cells.samples if one.split == "train" or one.label == 0]
    recipe, record = asked("auto", dataset=dataclasses.replace(cells, samples=tuple(good)))
    assert recipe.token_share == 1
    assert "no headline" in record["in_words"][0]


def test_auto_computes_all_tokens_if_few_items_judge(asked, monkeypatch):
    monkeypatch.setattr(budget, "LEAST", 20)
    recipe, record = asked("auto")
    assert recipe.token_share == 1
    assert "cannot judge a loss" in record["in_words"][0]
    assert "measured" not in record


def test_a_run_keeps_its_choice_and_shows_it(
    tmp_path, asked, run_adapt, monkeypatch, known, kit, small_backbone, cells
):
    monkeypatch.setattr(budget, "ALLOWED", 1.0)
    recipe, record = asked("auto")
    made = run_adapt(tmp_path / "run", recipe=recipe, further={"budget": record})
    stored = read_record(tmp_path / "run" / "run.json")
    assert stored["request"]["budget"] == made["request"]["budget"] == record
    assert asked("auto", run=Run(tmp_path / "run")) == (recipe, record)
    run_adapt(tmp_path / "run", recipe=recipe, further={"budget": record}, resume=True)
    other = asked(0.9, run=Run(tmp_path / "run"))
    with refused("usage/other-run", match="budget"):
        run_adapt(tmp_path / "run", recipe=other[0], further={"budget": other[1]}, resume=True)
    job = EvaluateJob(kit=kit, dataset=cells, run=Run(tmp_path / "run"), split="val")
    evaluate(job, backbone=small_backbone, registry=known, on_progress=lambda *_: None)
    page = render_report(tmp_path / "run", registry=known).read_text()
    assert "Compute</h2>" in page
    assert "auroc against the share of the dense arithmetic" in page


def test_a_plan_counts_what_the_budget_saves(
    tmp_path, asked, run_adapt, known, kit, small_backbone, recipe
):
    chosen, record = asked(0.7)
    totals = {}
    for name, given in {"few": chosen, "all": recipe}.items():
        run_adapt(tmp_path / name, recipe=given)
        predictor, answerer = load_answerer(
            Run(tmp_path / name), kit, backbone=small_backbone, registry=known
        )
        (planned,) = plan_passes({"kit": predictor}, answerer.preprocess)
        own = KitModules(spec=kit, registry=known, backbone=small_backbone)
        assert planned.blocks == own.trunk_end
        totals[name] = planned.operations
    assert totals["few"] / totals["all"] == pytest.approx(record["arithmetic"], abs=0.01)


def test_a_budget_and_its_settings_exclude_each_other(recipe, registry):
    for fields in ({"token_share": 0.5}, {"token_block": 0}, {"token_window": None}):
        with refused("usage/option-conflict", match="budget"):
            chosen_recipe(recipe, fields, registry, budget=0.5)
    given = chosen_recipe(recipe, {"token_gate": "foreground"}, registry, budget=0.5)
    assert given.token_gate == "moekit/foreground"


def test_a_gate_that_learns_cannot_be_chosen_by_a_budget(asked, recipe):
    learned = recipe.model_copy(update={"token_gate": "moekit/learned"})
    with refused("usage/option-conflict", match="learned"):
        asked(0.75, recipe=learned)


def test_a_run_without_a_budget_has_no_such_section():
    assert compute_section({"request": {}}) is None
