"""The stored prefix: right, bounded, resumable."""

import shutil

import numpy as np
import pytest
import torch

from moekit import DataError, StorageError
from moekit.data.stream import Preprocess
from moekit.data.views import view
from moekit.runtime.kit import KitModules
from moekit.training.adapt import baseline_of
from moekit.training.prefix import PrefixPlan, open_prefix
from moekit.training.storage import Shelf


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def open_store(kit, registry, small_backbone, cells, tmp_path):
    def call(*, spec=kit, samples=None, source=None, shelf=None, progress=lambda *_: None):
        modules = KitModules(spec=spec, registry=registry, backbone=small_backbone)
        plan = PrefixPlan.of(modules, small_backbone, views=2, arithmetic="fp32", size=32)
        return open_prefix(
            cells.samples if samples is None else samples,
            backbone=small_backbone,
            plan=plan,
            shelf=shelf or Shelf(tmp_path / "shelf"),
            source=source,
            progress=progress,
        )

    return call


def test_stored_activations_are_those_of_the_backbone(open_store, small_backbone, cells):
    store = open_store()
    rows, views = np.array([3, 17, 59]), np.array([0, 1, 1])
    tokens, kept = store.read(rows, views)
    read = Preprocess(size=32, mean=small_backbone.mean, std=small_backbone.std)
    images = torch.stack(
        [
            view(read(cells.samples[row].path), number)
            for row, number in zip(rows, views, strict=True)
        ]
    )
    x_BND, grid = small_backbone.embed(images)
    expected, _ = small_backbone.run_blocks(x_BND, grid, stop=1)
    torch.testing.assert_close(tokens.float(), expected, rtol=1e-2, atol=1e-2)
    assert kept == {}


def test_a_longer_prefix_goes_on_from_a_shorter_one(open_store, kit):
    shorter = open_store()
    direct = open_store(spec=baseline_of(kit))
    shutil.rmtree(
        direct._maps.array.filename and str(direct._maps.array.filename)[: -len("/maps.bin")]
    )
    chained = open_store(spec=baseline_of(kit), source=shorter)
    rows, views = np.arange(60), np.ones(60, dtype=int)
    for first, second in zip(
        (direct.read(rows, views)[0], direct.read(rows, views)[1][0]),
        (chained.read(rows, views)[0], chained.read(rows, views)[1][0]),
        strict=True,
    ):
        torch.testing.assert_close(first.float(), second.float(), rtol=2e-2, atol=2e-2)


def test_what_is_stored_is_not_computed_again(open_store):
    open_store()
    calls = []
    open_store(progress=lambda *given: calls.append(given))
    assert calls == []


def test_an_interrupted_computation_goes_on(open_store, monkeypatch):
    monkeypatch.setattr("moekit.training.prefix._SAVE_EVERY", 16)

    def kill(done, total):
        if done >= 48:
            raise Killed

    with pytest.raises(Killed):
        open_store(progress=kill)
    calls = []
    resumed = open_store(progress=lambda *given: calls.append(given))
    assert calls[0] == (48, 60)
    monkeypatch.undo()
    rows, views = np.arange(60), np.zeros(60, dtype=int)
    first = resumed.read(rows, views)[0].clone()
    assert first.float().abs().sum(dim=(1, 2)).min() > 0


def test_another_image_under_the_same_name_is_another_prefix(open_store, cells, tmp_path):
    copy = tmp_path / "cell.png"
    shutil.copy(cells.samples[0].path, copy)
    samples = [type(cells.samples[0])(id="cell", path=copy, label=0)]
    first = open_store(samples=samples).read(np.array([0]), np.array([0]))[0].clone()
    shutil.copy(cells.samples[5].path, copy)
    second = open_store(samples=samples).read(np.array([0]), np.array([0]))[0]
    assert not torch.equal(first, second)


def test_a_set_without_one_readable_image_is_refused(open_store, cells, tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    samples = [type(cells.samples[0])(id="empty", path=empty, label=0)]
    with pytest.raises(DataError, match="not one image"):
        open_store(samples=samples)


def test_a_prefix_beyond_the_limit_is_refused_before_anything_is_computed(open_store, tmp_path):
    calls = []
    with pytest.raises(StorageError, match="limit"):
        open_store(
            shelf=Shelf(tmp_path / "small", limit=1000),
            progress=lambda *given: calls.append(given),
        )
    assert calls == []


def test_the_least_recently_used_array_makes_room(tmp_path):
    shelf = Shelf(tmp_path, limit=250)
    for number, key in enumerate(("a", "b")):
        shelf.open(key, (50,)).save()
        stamp = 1_000_000 + number
        import os

        os.utime(tmp_path / key, (stamp, stamp))
    shelf.open("c", (50,)).save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_a_full_disk_is_told_before_anything_is_computed(open_store, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(StorageError, match="free"):
        open_store()
