"""An adaptation that begins with pretrained specialists, and says so."""

import dataclasses
import json

import pytest
import torch

from moekit.data.geometry import Frame
from moekit.plugins.changes import KitChanges
from moekit.pretraining.recipe import PretrainRecipe
from moekit.pretraining.specialists import PretrainJob, pretrain_specialists
from moekit.runs.pretrained import Pretrained, images_before
from moekit.runs.run import Run
from moekit.runtime.kit import KitModules
from moekit.sealed import write_sealed
from moekit.testing import refused
from moekit.training.start import load_beginning


@pytest.fixture
def pretrained(kit, cells, small_backbone, registry, fabric, tmp_path):
    """The folder of a pretraining on the cells, of one epoch."""
    out = Pretrained(tmp_path / "pretrained")
    side = kit.recipe.image_size
    pretrain_specialists(
        PretrainJob(
            kit=kit,
            kit_name="small",
            changes=KitChanges(),
            dataset=cells,
            out=out,
            frame=Frame(height=side, width=side),
            seed=0,
            recipe=PretrainRecipe(
                objective="self-distillation",
                image_size=side,
                epochs=1,
                batch_size=8,
                crops=2,
                small_crops=0,
                views=1,
                prototypes=16,
                probes=1,
                precision="fp32",
            ),
            top_k=small_backbone.top_k,
            folder=tmp_path / "pretrain-cache",
            cache_limit=2**30,
        ),
        backbone=small_backbone,
        registry=registry,
        fabric=fabric,
        on_progress=lambda *_: None,
        on_figures=lambda _: None,
        on_note=lambda _: None,
    )
    return out


def test_the_specialists_are_those_of_the_pretraining_and_the_baseline_has_none(
    pretrained, kit, registry, small_backbone
):
    parts = [
        KitModules(spec=spec, registry=registry, backbone=small_backbone)
        for spec in (kit, kit, kit.bare)
    ]
    before = {name: value.clone() for name, value in parts[1].head.state_dict().items()}
    load_beginning(pretrained, "kit", parts[1])
    load_beginning(pretrained, "baseline", parts[2])
    plain, begun = (part.sets.state_dict() for part in parts[:2])
    assert any(begun[name].any() and not plain[name].any() for name in plain)
    assert all(torch.equal(parts[1].head.state_dict()[name], one) for name, one in before.items())


def test_the_run_records_what_it_began_with_and_keeps_the_images(
    pretrained, run_adapt, tmp_path, cells
):
    record = run_adapt(tmp_path / "run", start=pretrained)
    known = pretrained.read()
    assert record["request"]["started_from"] == {
        "pretrained_weights_sha256": known["weights_sha256"],
        "pretrained_images_sha256": known["images_sha256"],
    }
    assert record["pretraining"]["dataset"] == cells.name
    assert record["pretraining"]["images"] == 40
    assert images_before(Run(tmp_path / "run")) == pretrained.images()
    links = [one for one in record["licences"]["parts"] if one["what"] == "run"]
    assert [one["name"] for one in links] == ["pretraining of cells, begun with"]
    assert {one["what"] for one in links[0]["made_from"]} == {"backbone", "data", "plugin"}
    later = run_adapt(tmp_path / "later", start=Run(tmp_path / "run"))
    assert later["pretraining"] == record["pretraining"]
    assert images_before(Run(tmp_path / "later")) == pretrained.images()


def test_an_interrupted_run_that_began_with_a_pretraining_goes_on(pretrained, run_adapt, tmp_path):
    whole = run_adapt(tmp_path / "whole", start=pretrained)

    class Stopped(Exception):
        pass

    def stop(part, figures):
        if part == "kit" and figures["epoch"] == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run_adapt(tmp_path / "cut", start=pretrained, on_epoch=stop)
    again = run_adapt(tmp_path / "cut", start=pretrained, resume=True)
    assert again["weights"] == whole["weights"]
    with refused("usage/other-run", match="started_from"):
        run_adapt(tmp_path / "cut", resume=True)


def test_the_validation_images_that_a_pretraining_saw_are_told(
    pretrained, run_adapt, cells, tmp_path
):
    swapped = {"train": "val", "val": "train"}
    turned = cells.with_samples(
        dataclasses.replace(one, split=swapped[one.split]) for one in cells.samples
    )
    record = run_adapt(tmp_path / "run", start=pretrained, dataset=turned)
    assert any(note.startswith("40 images of the split val were seen") for note in record["notes"])
    record = run_adapt(tmp_path / "other", start=pretrained)
    assert not any("were seen in the pretraining" in note for note in record["notes"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kit_name": "other"}, "kit"),
        ({"top_k": 4}, "top_k"),
        ({"slots": None}, "slots"),
    ],
)
def test_a_pretraining_of_something_else_is_refused(
    pretrained, run_adapt, kit, tmp_path, changes, named
):
    if "slots" in changes:
        changes = {"kit": dataclasses.replace(kit, slots=kit.slots[:1])}
    with refused("usage/other-run", match=named):
        run_adapt(tmp_path / "run", start=pretrained, **changes)


def test_changed_weights_and_changed_lists_of_images_are_refused(pretrained, run_adapt, tmp_path):
    path = pretrained.folder / "images.txt"
    before = path.read_text()
    path.write_text(before[65:])
    with refused("data/changed-file"):
        run_adapt(tmp_path / "one", start=pretrained)
    path.write_text(before)
    weights = pretrained.folder / "specialists.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x00\x01")
    with refused("weights/damaged"):
        run_adapt(tmp_path / "two", start=pretrained)


def test_an_unfinished_or_damaged_pretraining_is_refused(pretrained, run_adapt, tmp_path):
    record = json.loads(pretrained.record.read_text())
    write_sealed(pretrained.record, {**record, "done": False})
    with refused("data/unfinished-run"):
        run_adapt(tmp_path / "one", start=pretrained)
    write_sealed(pretrained.record, {**record, "request": 1})
    with refused("data/damaged-run"):
        run_adapt(tmp_path / "two", start=pretrained)
    write_sealed(pretrained.record, {**record, "schema": 99})
    with refused("data/other-version"):
        run_adapt(tmp_path / "three", start=pretrained)
