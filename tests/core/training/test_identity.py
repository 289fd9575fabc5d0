"""A run belongs to the data that it was begun with, and uses only what it wrote itself."""

import dataclasses
import functools
import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.data.samples import Dataset, Sample
from moekit.plugins.resolve import resolve
from moekit.runs.run import Run
from moekit.runtime.load import load_predictor, points_of
from moekit.sealed import write_sealed
from moekit.testing import refused


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def parts(tmp_path):
    """Twelve images of the test's own, which it may change."""
    generator = np.random.default_rng(0)
    samples = []
    (tmp_path / "data").mkdir()
    for number in range(12):
        path = tmp_path / "data" / f"{number}.bmp"
        pixels = generator.integers(0, 200, (32, 32, 3)) + 50 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        split = "val" if number >= 8 else "train"
        samples.append(
            Sample(id=path.name, path=path, label=number % 2, split=split, group=f"g{number}")
        )
    return Dataset(name="parts", classes=("good", "odd"), samples=tuple(samples))


@pytest.fixture
def broken(tmp_path, run_adapt, parts, recipe):
    """Begins a run on the parts and ends it after the first epoch of the baseline."""
    short = recipe.model_copy(update={"epochs": 1, "baseline_epochs": 1})

    def kill(*_):
        raise Killed

    with pytest.raises(Killed):
        run_adapt(tmp_path / "run", dataset=parts, recipe=short, on_epoch=kill)
    return functools.partial(run_adapt, tmp_path / "run", recipe=short, resume=True)


@pytest.fixture
def finished(tmp_path, run_adapt, parts, recipe):
    short = recipe.model_copy(update={"epochs": 1, "baseline_epochs": 1})
    run_adapt(tmp_path / "run", dataset=parts, recipe=short)
    return tmp_path / "run"


def changed_in_place(path):
    """Other pixels under the same name, size and time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-40] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def replaced(dataset, place, **changes):
    samples = list(dataset.samples)
    samples[place] = dataclasses.replace(samples[place], **changes)
    return dataset.with_samples(samples)


def test_a_run_on_the_same_data_goes_on(broken, parts):
    assert broken(dataset=parts)["done"]


@pytest.mark.parametrize(
    ("place", "changes", "named"),
    [
        (0, {"label": 1}, "labels of train"),
        (9, {"target": 0.25}, "labels of val"),
        (1, {"group": "other"}, "groups of train"),
        (2, {"id": "another.bmp"}, "ids of train"),
    ],
)
def test_a_run_does_not_go_on_with_other_labels_groups_or_ids(broken, parts, place, changes, named):
    with refused("data/changed", match=named) as failure:
        broken(dataset=replaced(parts, place, **changes))
    assert failure.value.exit_code == 4


def test_a_run_does_not_go_on_with_other_splits(broken, parts):
    swapped = replaced(replaced(parts, 0, split="val"), 8, split="train")
    with refused("data/changed", match="ids of train.*ids of val"):
        broken(dataset=swapped)


def test_a_run_does_not_go_on_with_images_that_changed_in_place(broken, parts):
    changed_in_place(parts.samples[10].path)
    with refused("data/changed", match="images of val"):
        broken(dataset=parts)


def test_a_run_does_not_go_on_with_masks_that_changed(tmp_path, run_adapt, parts, recipe):
    mask = tmp_path / "mask.bmp"
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(mask)
    masked = replaced(parts, 1, mask=mask)

    def kill(*_):
        raise Killed

    with pytest.raises(Killed):
        run_adapt(tmp_path / "run", dataset=masked, on_epoch=kill)
    changed_in_place(mask)
    with refused("data/changed", match="masks of train"):
        run_adapt(tmp_path / "run", dataset=masked, resume=True)


def test_a_finished_run_is_not_that_of_changed_data(finished, run_adapt, parts, recipe):
    short = recipe.model_copy(update={"epochs": 1, "baseline_epochs": 1})
    changed_in_place(parts.samples[0].path)
    with refused("data/changed"):
        run_adapt(finished, dataset=parts, recipe=short, resume=True)


def test_a_run_that_does_not_know_its_data_goes_on_and_says_so(broken, parts, tmp_path, caplog):
    path = tmp_path / "run/run.json"
    record = json.loads(path.read_text())
    del record["request"]["data"]
    write_sealed(path, record)
    assert broken(dataset=replaced(parts, 0, label=1))["done"]
    assert "is not known" in caplog.text


@pytest.mark.parametrize("part", ["image", "mask"])
def test_data_that_change_while_they_are_learned_from_end_the_run(tmp_path, run_adapt, parts, part):
    mask = tmp_path / "mask.bmp"
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(mask)
    masked = replaced(parts, 1, mask=mask)

    def change(name, figures):
        if (name, figures["epoch"]) == ("kit", 1):
            changed_in_place(mask if part == "mask" else parts.samples[3].path)

    with refused("data/changed", match=f"{part}s of train"):
        run_adapt(tmp_path / "run", dataset=masked, on_epoch=change)
    assert not Run(tmp_path / "run").read()["done"]


def test_an_image_that_changes_before_it_is_read_is_stored_under_no_false_name(
    tmp_path, run_adapt, parts, cache
):
    changed = []

    def change(what, done, _total):
        if "hashing" in what and "val" in what and not changed:
            changed.append(what)

    from moekit.training import prefix

    names = prefix._names

    def late(samples, files):
        found = names(samples, files)
        changed_in_place(samples[0].path)
        return found

    prefix._names = late
    try:
        with refused("data/changed", match=r"0\.bmp"):
            run_adapt(tmp_path / "run", dataset=parts, on_progress=change)
    finally:
        prefix._names = names
    assert not list(cache.rglob("*.bf16"))
    assert changed


@pytest.fixture
def opened(kit, registry, finished):
    """Chooses the points of a copy of the finished run."""

    def call(folder=finished):
        return points_of(Run(folder), resolve(kit, registry, frames=1))

    return call


def test_the_files_that_decide_are_hashed_in_the_record(finished, opened):
    record = json.loads((finished / "run.json").read_text())
    assert set(record["files"]) == {"validation.csv", "history.jsonl"}
    assert len(opened()) == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace(",0,", ",1,", 1),
        lambda text: text.replace("0.", "0.0", 1),
        lambda text: text + text.splitlines(keepends=True)[-1],
        lambda text: text[: text.rindex("\n", 0, -2) + 1],
    ],
)
def test_validation_tallies_that_were_edited_choose_nothing(finished, opened, edit):
    path = finished / "validation.csv"
    before = path.read_text()
    path.write_text(edit(before))
    assert path.read_text() != before
    with refused("data/changed-file", match=r"run\.json") as failure:
        opened()
    assert (failure.value.exit_code, failure.value.whose) == (4, str(path))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("score", "nan"),
        ("score", "inf"),
        ("score", "1e400"),
        ("score", "-0.1"),
        ("baseline_score", "nan"),
        ("label", "7"),
        ("label", "99999999999999999999999999"),
        ("label", ""),
    ],
)
def test_tallies_of_an_earlier_version_with_impossible_values_choose_nothing(
    finished, opened, column, value, caplog
):
    record = json.loads((finished / "run.json").read_text())
    del record["files"]
    write_sealed(finished / "run.json", record)
    path = finished / "validation.csv"
    head, first, *lines = path.read_text().splitlines()
    cells = dict(zip(head.split(","), first.split(","), strict=True))
    path.write_text("\n".join([head, ",".join({**cells, column: value}.values()), *lines]))
    with refused("data/damaged-run") as failure:
        opened()
    assert failure.value.exit_code == 4
    assert "validation" in failure.value.whose
    assert "is not known" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_whose_weights_are_lost_is_never_done_and_is_not_loaded(
    tmp_path, run_adapt, parts, kit, recipe, registry, small_backbone, finished, value
):
    def lose(job):
        from moekit.training.fit import fit

        result = fit(job)
        with torch.no_grad():
            next(iter(job.kit.parameters())).fill_(value)
        return result

    short = recipe.model_copy(update={"epochs": 1, "baseline_epochs": 1})
    lost = dataclasses.replace(kit, fit=lose)
    with refused("weights/not-finite"):
        run_adapt(tmp_path / "lost", dataset=parts, recipe=short, kit=lost)
    assert not Run(tmp_path / "lost").read()["done"]
    # One that an earlier version finished.
    run = Run(finished)
    from safetensors.torch import load_file, save_file

    from moekit.files import sha256

    tensors = load_file(run.weights("kit"))
    tensors["head.linear.weight"][0, 0] = value
    save_file(tensors, run.weights("kit"))
    record = json.loads(run.record.read_text())
    record["weights"]["kit_sha256"] = sha256(run.weights("kit"))
    write_sealed(run.record, record)
    with refused("weights/not-finite"):
        load_predictor(
            Run(finished), kit, backbone=small_backbone, registry=registry, with_baseline=False
        )


def test_a_copy_of_a_run_is_as_good_as_the_run(finished, opened, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    assert opened(tmp_path / "copy") == opened()
