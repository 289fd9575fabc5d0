"""Specialists learn from images without labels, and leave the trunk as it is."""

import copy
import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from moekit.files import sha256
from moekit.runs.pretrained import Pretrained
from moekit.testing import refused


class Stopped(Exception):
    """A kill in the middle of a training."""


def weights(folder):
    return load_file(folder / "specialists.safetensors")


def test_specialists_change_and_no_bit_of_the_backbone_does(run_pretrain, tiny_backbone, tmp_path):
    before = copy.deepcopy(tiny_backbone.state_dict())
    record = run_pretrain(tmp_path / "out")
    after = tiny_backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    found = weights(tmp_path / "out")
    moved = [name for name, value in found.items() if name.endswith("up.weight") and value.any()]
    assert {name.partition(".")[0] for name in moved} == {"1", "2"}
    trained = [value for name, value in found.items() if not name.endswith("bias_E")]
    assert record["parameters"]["kept"] == sum(value.numel() for value in trained)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_the_loss_of_foretelling_frozen_features_falls(run_pretrain, brief, tmp_path):
    fields = {"objective": "masked-features", "epochs": 12, "head_rate": 3e-3, "probes": 4}
    record = run_pretrain(tmp_path / "out", recipe=brief.changed(fields))
    losses = [one["loss"] for one in record["curves"][1:]]
    assert losses[-1] < losses[0]
    assert [one["step"] for one in record["curves"]] == [0, 15, 30, 45, 60]
    assert all({"rank", "probe", "neighbours"} <= one.keys() for one in record["curves"])


def test_no_image_of_another_split_is_seen(run_pretrain, cells, tmp_path):
    record = run_pretrain(tmp_path / "out")
    seen = Pretrained(tmp_path / "out").images()
    hashes = {one.id: (sha256(one.path), one.split) for one in cells.samples}
    assert seen == {content for content, split in hashes.values() if split == "train"}
    assert not seen & {content for content, split in hashes.values() if split == "val"}
    assert record["images"] == len(seen)


def test_an_image_that_lies_in_another_split_too_is_left_out_and_told(
    run_pretrain, cells, tmp_path
):
    other = next(one for one in cells.samples if one.split == "val")
    again = shutil.copy(other.path, tmp_path / "again.png")
    twin = dataclasses.replace(other, id="again", path=tmp_path / "again.png", split="train")
    notes = []
    record = run_pretrain(
        tmp_path / "out", dataset=cells.with_samples([*cells.samples, twin]), on_note=notes.append
    )
    assert sha256(tmp_path / "again.png") not in Pretrained(tmp_path / "out").images()
    assert len(notes) == 1
    assert notes[0].startswith("1 images of the training split lie in another split")
    assert notes[0] in record["notes"]
    assert again


def test_as_many_images_are_seen_as_are_asked_for_evenly_spread(
    run_pretrain, brief, cells, tmp_path
):
    record = run_pretrain(tmp_path / "out", recipe=brief.changed({"limit": 10}))
    assert record["images"] == 10
    train = [sha256(one.path) for one in cells.split("train")]
    assert Pretrained(tmp_path / "out").images() == set(train[::4])


def test_labels_do_not_matter(run_pretrain, cells, tmp_path):
    run_pretrain(tmp_path / "with")
    bare = [dataclasses.replace(one, label=0, target=None) for one in cells.samples]
    record = run_pretrain(tmp_path / "without", dataset=cells.with_samples(bare))
    one, two = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert all(torch.equal(two[name], value) for name, value in one.items())
    assert "probe" not in record["curves"][-1]


def test_a_killed_training_goes_on_to_the_same_weights(run_pretrain, tmp_path, monkeypatch):
    run_pretrain(tmp_path / "whole")
    monkeypatch.setattr("moekit.pretraining.fit._CHECKPOINT_SECONDS", 0.0)

    def stop(what, done, _total):
        if what == "pretraining, steps" and done == 7:
            raise Stopped

    with pytest.raises(Stopped):
        run_pretrain(tmp_path / "cut", on_progress=stop)
    with refused("usage/exists"):
        run_pretrain(tmp_path / "cut")
    steps = []
    run_pretrain(
        tmp_path / "cut",
        resume=True,
        on_progress=lambda what, done, _: steps.append((what, done)),
    )
    assert [done for what, done in steps if what == "pretraining, steps"] == [7, 8, 9, 10]
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(two[name], value) for name, value in one.items())


def test_a_training_is_resumed_with_its_own_options_and_data_only(
    run_pretrain, brief, cells, tmp_path
):
    run_pretrain(tmp_path / "out")
    with refused("usage/other-run", match="recipe"):
        run_pretrain(tmp_path / "out", resume=True, recipe=brief.changed({"epochs": 3}))
    with refused("data/changed"):
        fewer = cells.with_samples(cells.samples[:-1])
        run_pretrain(tmp_path / "out", resume=True, dataset=fewer)


def test_features_that_collapse_stop_the_training(run_pretrain, brief, tmp_path, monkeypatch):
    ranks = iter([20.0, 5.0])
    monkeypatch.setattr("moekit.pretraining.judge.effective_rank", lambda _: next(ranks))
    with refused("weights/collapsed", match=r"20\.0 to 5\.0"):
        run_pretrain(tmp_path / "out", recipe=brief)
    assert not json.loads((tmp_path / "out" / "pretrain.json").read_text())["done"]


def test_a_kit_without_specialists_is_refused(run_pretrain, kit, tmp_path):
    with refused("usage/no-experts"):
        run_pretrain(tmp_path / "out", kit=dataclasses.replace(kit, slots=()))
    with refused("usage/no-experts", match="stream"):
        run_pretrain(tmp_path / "out", kit=dataclasses.replace(kit, placement="side"))


def test_an_image_that_cannot_be_read_is_left_out_and_counted(run_pretrain, cells, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = dataclasses.replace(
        cells.samples[1], id="broken", path=tmp_path / "broken.png", split="train"
    )
    record = run_pretrain(tmp_path / "out", dataset=cells.with_samples([*cells.samples, broken]))
    assert [one["id"] for one in record["skipped"]] == ["broken"]
    assert record["images"] == 40


def test_stacks_are_learned_from_as_images_are(run_pretrain, kit, cells, tmp_path, activations):
    from PIL import Image

    samples = []
    for number, one in enumerate(cells.samples[:12]):
        with Image.open(one.path) as image:
            path = tmp_path / f"{number}.tif"
            image.save(path, save_all=True, append_images=[image.rotate(90)])
        samples.append(dataclasses.replace(one, path=path, split="train"))
    stacks = dataclasses.replace(cells.with_samples(samples), frames=2)
    record = run_pretrain(tmp_path / "out", dataset=stacks)
    assert record["request"]["frames"] == 2
    assert record["images"] == 12
