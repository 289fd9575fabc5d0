"""Near-duplicates of what is learned from: told, and made groups before the split is dealt."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from moekit.data.near import find as finding
from moekit.data.splits import split_dataset
from moekit.jobs.data import data_of_run
from moekit.runs.near import CODES, GROUPS, read_groups
from moekit.runs.run import Run
from moekit.testing import refused
from moekit.training.grouped import Grouping, group_near_duplicates

pytestmark = pytest.mark.usefixtures("all_pairs")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(finding, "DRAWN", 10)


@pytest.fixture
def with_copies(cells, tmp_path):
    """24 solar cells, and of the last two a smaller copy in the other split."""
    samples = list(cells.samples[:24])
    for source in samples[-2:]:
        path = tmp_path / f"copy-{source.path.name}"
        with Image.open(source.path) as picture:
            picture.convert("RGB").resize((240, 240)).save(path)
        other = "val" if source.split == "train" else "train"
        samples.append(dataclasses.replace(source, id=f"copy-{source.id}", path=path, split=other))
    return cells.with_samples(samples)


def planted(dataset):
    return sorted(
        sorted((sample.id, sample.id.removeprefix("copy-")))
        for sample in dataset.samples
        if sample.id.startswith("copy-")
    )


def named(record):
    return sorted(sorted(pair["ids"]) for pair in record["pairs"])


def test_near_duplicates_across_train_and_val_are_recorded_told_and_drawn(
    tmp_path, run_adapt, with_copies, small_backbone
):
    record = run_adapt(tmp_path / "run", dataset=with_copies)
    found = record["near_duplicates"]
    assert found["checked"]
    assert all(pair in named(found) for pair in planted(with_copies)), found["pairs"]
    assert "images of val have a near-duplicate in train" in found["in_words"][0]
    index = json.loads((tmp_path / "run/near_duplicates/adapt/index.json").read_text())
    assert [entry["file"] for entry in index[:2]] == ["pair-1.jpg", "pair-2.jpg"]
    assert all((tmp_path / "run/near_duplicates/adapt" / one["file"]).exists() for one in index)
    assert (tmp_path / "run" / CODES).exists()


def test_a_search_that_fails_is_recorded_and_stops_nothing(
    tmp_path, run_adapt, with_copies, monkeypatch
):
    def broken(*_, **__):
        raise RuntimeError("no memory")

    monkeypatch.setattr("moekit.training.near.find_across", broken)
    record = run_adapt(tmp_path / "run", dataset=with_copies)
    assert record["done"]
    assert not record["near_duplicates"]["checked"]
    assert "no memory" in record["near_duplicates"]["in_words"][0]


@pytest.fixture
def grouping(kit, recipe, small_backbone, registry, fabric, cache, tmp_path, monkeypatch):
    """Groups the near-duplicates of a set for a run."""
    monkeypatch.setattr("moekit.training.grouped.cache_folder", lambda: cache)

    def call(dataset, folder=tmp_path / "grouped", recipe=recipe):
        return group_near_duplicates(
            Grouping(
                kit=kit,
                dataset=dataset,
                run=Run(folder),
                recipe=recipe,
                backbone=small_backbone,
                registry=registry,
                fabric=fabric,
                top_k=None,
                cache_limit=2**30,
                on_progress=lambda *_: None,
            )
        )

    return call


def dealt(dataset):
    """The set dealt by the first seed that parts a copy from its source."""
    loose = dataset.with_samples(
        dataclasses.replace(sample, split=None, target=None) for sample in dataset.samples
    )
    for seed in range(20):
        made = split_dataset(loose, seed=seed)
        if parted(made):
            return made
    raise AssertionError


def parted(dataset):
    split_of = {sample.id: sample.split for sample in dataset.samples}
    return [pair for pair in planted(dataset) if split_of[pair[0]] != split_of[pair[1]]]


def test_near_duplicates_that_are_groups_lie_on_one_side_and_the_run_says_so(
    tmp_path, grouping, with_copies, run_adapt, kit, registry, monkeypatch
):
    before = dealt(with_copies)
    assert parted(before)
    after, record = grouping(before)
    assert not parted(after)
    assert record["done"]
    assert (record["groups"] >= 2, record["items"] >= 4) == (True, True)  # real cells add some
    groups = {sample.id: sample.group for sample in after.samples if sample.group}
    assert all(groups[one] == groups[other] for one, other in planted(before))
    run = run_adapt(tmp_path / "grouped", dataset=after, further={"grouped": record})
    assert run["request"]["grouped"]["sha256"] == record["sha256"]
    assert run["near_duplicates"]["pairs"] == []
    # Whoever goes on with the run, or evaluates it, gets the same split.
    assert grouping(before) == (after, record)
    monkeypatch.setattr(type(registry), "load_dataset", lambda *_, **__: before)
    again = data_of_run(registry, kit, "cells", Run(tmp_path / "grouped"))
    assert (again.samples, again.split_note) == (after.samples, after.split_note)
    (tmp_path / "grouped" / GROUPS).write_text("{}")
    with refused("data/damaged-run"):
        read_groups(Run(tmp_path / "grouped"))


def test_of_a_given_split_nothing_is_moved_and_the_record_says_so(grouping, with_copies):
    after, record = grouping(with_copies)
    assert after == with_copies
    assert not record["done"]
    assert "the split is given by the data" in record["in_words"][0]


def test_a_set_without_near_duplicates_is_dealt_as_before(grouping, cells):
    loose = cells.with_samples(
        dataclasses.replace(sample, split=None, target=None) for sample in cells.samples[:12]
    )
    before = split_dataset(loose, seed=0)
    after, record = grouping(before)
    assert after == before
    assert record["in_words"][0].startswith("no near-duplicates were found")


@pytest.fixture
def of_twelve_bits(with_copies, tmp_path):
    """The cells and their copies, as numbers of 12 bits in files of 16."""
    folder = tmp_path / "twelve"
    folder.mkdir()
    samples = []
    for number, sample in enumerate(with_copies.samples):
        path = folder / f"{number}.png"
        with Image.open(sample.path) as picture:
            grey = np.asarray(picture.convert("L")).astype(np.uint16)
        Image.fromarray(grey * 16).save(path)
        samples.append(dataclasses.replace(sample, path=path))
    return with_copies.with_samples(samples)


def test_numbers_of_stated_bits_are_looked_at_as_they_are_learned_from(
    tmp_path, grouping, of_twelve_bits, recipe, run_adapt
):
    recipe = recipe.model_copy(update={"bits": 12})
    after, record = grouping(dealt(of_twelve_bits), recipe=recipe)
    assert record["done"]
    stages = set()
    run_adapt(
        tmp_path / "grouped",
        dataset=after,
        further={"grouped": record},
        recipe=recipe,
        on_progress=lambda stage, *_: stages.add(stage),
    )
    assert "blocks 1 to 1 of the backbone, train" in stages
    assert "blocks 1 to 1 of the backbone, val" not in stages  # all are stored


def test_pictures_of_stated_bits_are_drawn_as_bright_as_they_are(
    tmp_path, of_twelve_bits, recipe, run_adapt
):
    recipe = recipe.model_copy(update={"bits": 12})
    run_adapt(tmp_path / "run", dataset=of_twelve_bits, recipe=recipe)
    with Image.open(tmp_path / "run/near_duplicates/adapt/pair-1.jpg") as drawn:
        assert np.asarray(drawn.convert("L"))[:, :240].mean() > 20  # 16 is white otherwise
