"""Where specialists act: what is stored for them, what is trained, what the run says of it."""

import dataclasses
import json

import pytest
import torch

from moekit.plugins.changes import KitChanges, changed
from moekit.plugins.resolve import kit_of_run
from moekit.runs.run import Run
from moekit.runtime.load import load_predictor
from moekit.sealed import write_sealed
from moekit.testing import refused
from moekit.training.prefix_plan import PrefixPlan


@pytest.fixture
def beside(kit):
    return dataclasses.replace(kit, placement="side")


def test_the_stored_prefix_covers_all_blocks_and_no_block_is_run_in_training(
    tmp_path, run_adapt, beside, small_backbone, monkeypatch
):
    kept = []
    plan_of = PrefixPlan.of.__func__
    monkeypatch.setattr(
        PrefixPlan,
        "of",
        classmethod(lambda cls, *args, **how: kept.append(plan_of(cls, *args, **how)) or kept[-1]),
    )
    ran = []
    for block in small_backbone.blocks:
        block.attn.register_forward_hook(lambda *_: ran.append(torch.is_grad_enabled()))
    record = run_adapt(tmp_path / "run", kit=beside)
    assert {(plan.end, plan.keep) for plan in kept} == {(3, (0, 1)), (3, (0,))}
    assert ran
    assert not any(ran)
    assert record["training"]["kit"]["best_epoch"] > 0
    assert record["parameters"]["trained"] > record["parameters"]["baseline"]


def test_the_baseline_reads_what_is_stored_for_the_kit(tmp_path, run_adapt, beside, cache):
    run_adapt(tmp_path / "run", kit=beside)
    folders = [folder for folder in (cache / "prefix").iterdir() if folder.is_dir()]
    assert len(folders) == 2, "one of two views for training, one of one view for validation"


def test_the_baseline_is_the_one_of_any_other_placement(tmp_path, run_adapt, finished_run, beside):
    trunk = finished_run(tmp_path / "trunk")
    side = run_adapt(tmp_path / "side", kit=beside)
    first, second = (
        Run(tmp_path / name).folder.joinpath("baseline.safetensors") for name in ("trunk", "side")
    )
    assert first.exists() == second.exists()
    assert side["training"]["baseline"]["epochs"] == trunk["training"]["baseline"]["epochs"]
    assert side["weights"]["kit_sha256"] != trunk["weights"]["kit_sha256"]


def test_a_run_of_the_trunk_says_what_it_said_before_there_was_a_choice(tmp_path, finished_run):
    record = finished_run(tmp_path / "run")
    assert record["request"]["changes"] == {"experts": [], "gate": None}
    assert Run(tmp_path / "run").placement() == "trunk"


@pytest.mark.parametrize("now", ["trunk", "side"])
@pytest.mark.parametrize("made", ["trunk", "side", "none"])
def test_a_run_is_opened_as_it_was_made_whatever_the_kit_says_now(
    tmp_path, run_adapt, kit, recipe, known, small_backbone, made, now
):
    changes = KitChanges(placement=made)
    asked = changed(kit, changes, known)
    assert asked.recipe.epochs == recipe.epochs
    record = run_adapt(tmp_path / "run", kit=asked, changes=changes)
    known.kit = lambda name: dataclasses.replace(kit, placement=now)
    opened = kit_of_run(known, "small", record)
    assert opened.slots == asked.slots
    assert not opened.slots or opened.placement == made
    run = Run(tmp_path / "run")
    assert run.placement() == made
    predictor = load_predictor(
        run, opened, backbone=small_backbone, registry=known, with_baseline=False
    )
    assert predictor.kit.is_side == (made == "side")


def test_what_the_kit_says_is_recorded_if_nobody_changes_it(tmp_path, run_adapt, beside):
    record = run_adapt(tmp_path / "run", kit=beside)
    assert record["request"]["changes"]["placement"] == "side"
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    content["request"]["changes"]["placement"] = "above"
    write_sealed(tmp_path / "run" / "run.json", content)
    with refused("data/damaged-run", match="request.changes.placement"):
        Run(tmp_path / "run").read()


def test_a_side_run_killed_in_training_resumes_to_the_same_weights(tmp_path, run_adapt, beside):
    whole = run_adapt(tmp_path / "whole", kit=beside)

    def kill(part, figures):
        if (part, figures["epoch"]) == ("kit", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_adapt(tmp_path / "broken", kit=beside, on_epoch=kill)
    resumed = run_adapt(tmp_path / "broken", kit=beside, resume=True)
    assert resumed["weights"] == whole["weights"]


def test_changes_that_make_no_sense_are_refused(kit, known):
    bare = dataclasses.replace(kit, slots=())
    for placement in ("side", "none"):
        with refused("usage/no-experts"):
            changed(bare, KitChanges(placement=placement), known)
    assert changed(bare, KitChanges(placement="trunk"), known) is bare
    with refused("usage/option-conflict", match="left out"):
        changed(kit, KitChanges(placement="none", gate="test/two_best"), known)


def test_without_specialists_the_head_learns_as_long_as_the_baseline(kit, known):
    longer = dataclasses.replace(kit, recipe=kit.recipe.changed({"baseline_epochs": 7}))
    assert changed(longer, KitChanges(placement="none"), known).recipe.epochs == 7
