"""The gating fine-tune: what it trains, that it repeats, that nothing is lost."""

import copy
import json

import pytest
import torch

from moekit.runs.run import Run
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused


class Killed(Exception):
    """Stands for the end of the process."""


def test_training_lowers_the_loss_and_leaves_the_backbone_as_it_was(
    tmp_path, run_adapt, small_backbone
):
    before = copy.deepcopy(small_backbone.state_dict())
    record = run_adapt(tmp_path / "run")
    history = [
        json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()
    ]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert record["parameters"]["trained"] > record["parameters"]["baseline"] > 0
    for name, value in small_backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(tmp_path, run_adapt):
    first, again, other = (
        run_adapt(tmp_path / name, seed=seed)["weights"]
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert first["kit_sha256"] != other["kit_sha256"]


def test_a_training_that_diverges_stops_and_says_when(tmp_path, run_adapt, recipe):
    wild = recipe.model_copy(update={"learning_rate": 1e30})
    with refused("weights/not-finite", match="epoch 1 is (nan|inf)"):
        run_adapt(tmp_path / "run", recipe=wild)
    assert not Run(tmp_path / "run").read()["done"]


def test_a_figure_is_the_mean_over_the_pieces_of_a_split_that_tell_it(
    tmp_path, run_adapt, recipe, monkeypatch
):
    monkeypatch.setattr("moekit.training.fit._TOGETHER", 0)
    seen = []
    small = recipe.model_copy(update={"batch_size": 3, "epochs": 1, "baseline_epochs": 1})
    run_adapt(tmp_path / "run", recipe=small, on_epoch=lambda _, figures: seen.append(figures))
    assert all(0 <= figures["val_auroc"] <= 1 for figures in seen)


@pytest.mark.parametrize("part", ["kit", "baseline"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_killed_after_an_epoch_resumes_to_the_weights_of_an_unbroken_one(
    tmp_path, run_adapt, finished_run, part, epoch
):
    whole = finished_run(tmp_path / "whole")

    def kill(name, figures):
        if (name, figures["epoch"]) == (part, epoch + 1):
            raise Killed

    with pytest.raises(Killed):
        run_adapt(tmp_path / "broken", on_epoch=kill)
    seen = []
    resumed = run_adapt(
        tmp_path / "broken",
        resume=True,
        on_epoch=lambda name, figures: seen.append((name, figures["epoch"])),
    )
    assert (part, epoch) not in seen
    assert resumed["weights"] == whole["weights"]


def test_a_checkpoint_in_the_middle_of_an_epoch_resumes_to_the_same_weights(
    tmp_path, run_adapt, finished_run, monkeypatch
):
    whole = finished_run(tmp_path / "whole")
    monkeypatch.setattr("moekit.training.fit._CHECKPOINT_SECONDS", -1.0)
    saves = 0

    def save_some_then_die(*arguments, **keywords):
        nonlocal saves
        saves += 1
        if saves == 4:
            raise Killed
        return save(*arguments, **keywords)

    from moekit.training import fit

    save = fit.save_checkpoint
    monkeypatch.setattr(fit, "save_checkpoint", save_some_then_die)
    with pytest.raises(Killed):
        run_adapt(tmp_path / "broken")
    monkeypatch.setattr(fit, "save_checkpoint", save)
    assert run_adapt(tmp_path / "broken", resume=True)["weights"] == whole["weights"]


def test_a_folder_with_a_run_is_not_overwritten(tmp_path, run_adapt, finished_run):
    finished_run(tmp_path / "run")
    with refused("usage/exists"):
        run_adapt(tmp_path / "run")


def test_resuming_with_another_seed_is_refused_by_name(tmp_path, run_adapt, finished_run):
    finished_run(tmp_path / "run")
    with refused("usage/other-run", match="seed"):
        run_adapt(tmp_path / "run", seed=5, resume=True)


def test_resuming_a_finished_run_changes_nothing(tmp_path, run_adapt, finished_run):
    first = finished_run(tmp_path / "run")
    assert run_adapt(tmp_path / "run", resume=True) == first


def test_a_training_never_reads_the_record_that_it_writes(tmp_path, run_adapt, reads):
    record = run_adapt(tmp_path / "run")
    assert reads[tmp_path / "run/run.json"] == 0
    assert json.loads((tmp_path / "run/run.json").read_text()) == record


def test_training_stops_when_the_validation_loss_no_longer_falls(tmp_path, run_adapt, recipe):
    stubborn = recipe.model_copy(update={"specialist_rate": 3.0, "epochs": 30, "patience": 2})
    record = run_adapt(tmp_path / "run", recipe=stubborn)
    training = record["training"]["kit"]
    assert training["epochs"] == training["best_epoch"] + 2 < 30


def test_a_small_set_is_trained_for_longer_and_that_is_noted(
    tmp_path, run_adapt, finished_run, recipe
):
    plain = finished_run(tmp_path / "plain")
    steps = -(-plain["images"]["train"] // recipe.batch_size)
    longer = recipe.model_copy(update={"least_steps": 5 * steps, "patience": 3})
    record = run_adapt(tmp_path / "run", recipe=longer)
    assert [record["training"][part]["epochs"] for part in ("kit", "baseline")] == [6, 6]
    (note,) = set(record["notes"]) - set(plain["notes"])
    assert "6 epochs in place of 3" in note


def test_unreadable_images_are_left_out_named_and_counted(tmp_path, run_adapt, cells):
    broken = tmp_path / "broken.png"
    broken.write_bytes(cells.samples[1].path.read_bytes()[:400])
    damaged = [cells.samples[1], *cells.samples[2:], cells.samples[0]]
    damaged[0] = type(cells.samples[1])(id="broken", path=broken, label=0, split="train")
    record = run_adapt(tmp_path / "run", dataset=cells.with_samples(damaged))
    assert [skip["id"] for skip in record["skipped"]] == ["broken"]
    assert record["images"] == {"train": 39, "val": 20}


def test_the_run_keeps_the_scores_of_the_validation_split(tmp_path, finished_run, cells):
    finished_run(tmp_path / "run")
    scores = Predictions.read_csv(tmp_path / "run" / "validation.csv")
    assert scores.ids == tuple(sample.id for sample in cells.split("val"))
    assert ((scores.scores > 0) & (scores.scores < 1)).all()
    assert scores.baseline_scores is not None
    assert (scores.baseline_scores != scores.scores).any()


def test_a_damaged_checkpoint_is_named(tmp_path, run_adapt):
    def kill(name, figures):
        if figures["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        run_adapt(tmp_path / "run", on_epoch=kill)
    checkpoint = tmp_path / "run/checkpoints/baseline.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    with refused("data/damaged-run", match=r"baseline\.safetensors"):
        run_adapt(tmp_path / "run", resume=True)
