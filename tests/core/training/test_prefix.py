"""The stored prefix: right, bounded, resumable."""

import gc
import os
import shutil

import numpy as np
import pytest
import torch

from moekit.data.stream import Preprocess
from moekit.data.views import view
from moekit.moe.specialists import Grid
from moekit.runtime.kit import KitModules
from moekit.testing import refused
from moekit.training import activation_batches
from moekit.training.activation_cache import ActivationCache
from moekit.training.prefix import open_prefix
from moekit.training.prefix_plan import PrefixPlan


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def open_store(kit, registry, small_backbone, cells, tmp_path):
    def call(*, spec=kit, samples=None, source=None, limit=2**30, progress=lambda *_: None):
        modules = KitModules(spec=spec, registry=registry, backbone=small_backbone)
        plan = PrefixPlan.of(modules, small_backbone, views=2, arithmetic="fp32", size=32)
        return open_prefix(
            cells.samples if samples is None else samples,
            backbone=small_backbone,
            plan=plan,
            folder=tmp_path / "cache",
            limit=limit,
            source=source,
            progress=progress,
        )

    return call


def read(store, rows, view=0):
    rows = np.asarray(rows)
    return store.read(rows, np.full_like(rows, view))


def test_stored_activations_are_those_of_the_backbone(open_store, small_backbone, cells):
    store = open_store()
    rows, views = np.array([3, 17, 59]), np.array([0, 1, 1])
    tokens, kept = store.read(rows, views)
    preprocess = Preprocess(size=32, mean=small_backbone.mean, std=small_backbone.std)
    images = torch.stack(
        [
            view(preprocess(cells.samples[row].path), number)
            for row, number in zip(rows, views, strict=True)
        ]
    )
    x_BND, grid = small_backbone.embed(images)
    assert torch.equal(store.pictures(rows, views), images)
    expected, _ = small_backbone.run_blocks(x_BND, grid, stop=1)
    torch.testing.assert_close(tokens.float(), expected, rtol=1e-2, atol=1e-2)
    assert kept == {}


def test_a_longer_prefix_goes_on_from_a_shorter_one(open_store, kit, tmp_path):
    shorter = open_store()
    chained = open_store(spec=kit.bare, source=shorter)
    tokens, kept = read(chained, range(60), view=1)
    shutil.rmtree(tmp_path / "cache")
    direct_tokens, direct_kept = read(open_store(spec=kit.bare), range(60), view=1)
    torch.testing.assert_close(tokens.float(), direct_tokens.float(), rtol=2e-2, atol=3e-2)
    torch.testing.assert_close(kept[0].float(), direct_kept[0].float(), rtol=2e-2, atol=3e-2)


def test_what_is_stored_is_not_computed_again(open_store):
    open_store()
    calls = []
    open_store(progress=lambda *given: calls.append(given))
    assert calls == []


def test_another_split_of_the_same_images_finds_them(open_store, cells):
    open_store(samples=cells.samples[:48])
    calls = []
    open_store(samples=cells.samples[12:], progress=lambda *given: calls.append(given))
    assert calls == [(48, 48)]


def test_an_interrupted_computation_goes_on(open_store):
    def kill(done, total):
        if done >= 48:
            raise Killed

    with pytest.raises(Killed):
        open_store(progress=kill)
    calls = []
    resumed = open_store(progress=lambda *given: calls.append(given))
    assert calls == [(60, 60)]
    assert read(resumed, range(60))[0].float().abs().sum(dim=(1, 2)).min() > 0


def test_a_file_that_was_cut_off_is_computed_again(open_store, tmp_path):
    whole = read(open_store(), [0])[0]
    for path in (tmp_path / "cache").rglob("*.bf16"):
        path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(read(open_store(), [0])[0], whole)


@pytest.mark.parametrize("place", [0, -30, -1])
def test_activations_that_changed_on_disk_are_made_again_and_this_is_said(
    open_store, kit, tmp_path, place, caplog
):
    store = open_store()
    whole = [read(store, range(60), view=number)[0] for number in (0, 1)]
    path = tmp_path / "cache" / store.plan.name / f"{store.images[7]}.bf16"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)
    again = open_store()
    for number in (0, 1):
        # One image is computed alone here, which may round otherwise.
        torch.testing.assert_close(
            read(again, range(60), view=number)[0].float(),
            whole[number].float(),
            rtol=1e-2,
            atol=1e-2,
        )
    assert again.made_again == 1
    assert "damaged" in caplog.text
    assert store.images[7] in caplog.text
    assert open_store().made_again == 0
    path.write_bytes(content)
    open_store(spec=kit.bare, source=(source := open_store()))
    assert source.made_again == 1


def test_activations_that_went_while_they_are_used_are_made_again(open_store, tmp_path):
    store = open_store()
    whole = read(store, [3])[0]
    shutil.rmtree(tmp_path / "cache" / store.plan.name)
    (tmp_path / "cache" / store.plan.name).mkdir()
    torch.testing.assert_close(read(store, [3])[0].float(), whole.float(), rtol=1e-2, atol=1e-2)


def test_activations_are_never_made_again_from_another_image(open_store, cells, tmp_path):
    copy = tmp_path / "cell.png"
    shutil.copy(cells.samples[0].path, copy)
    store = open_store(samples=[type(cells.samples[0])(id="cell", path=copy, label=0)])
    (path,) = (tmp_path / "cache").rglob("*.bf16")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    shutil.copy(cells.samples[5].path, copy)
    with refused("data/changed", match=r"cell\.png"):
        read(store, [0], view=1)


def test_another_image_under_the_same_name_is_another_prefix(open_store, cells, tmp_path):
    copy = tmp_path / "cell.png"
    shutil.copy(cells.samples[0].path, copy)
    samples = [type(cells.samples[0])(id="cell", path=copy, label=0)]
    first = read(open_store(samples=samples), [0])[0]
    shutil.copy(cells.samples[5].path, copy)
    assert not torch.equal(first, read(open_store(samples=samples), [0])[0])


def test_a_set_without_one_readable_image_is_refused(open_store, cells, tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    samples = [type(cells.samples[0])(id="empty", path=empty, label=0)]
    with refused("data/none-readable"):
        open_store(samples=samples)


def test_a_prefix_beyond_the_limit_is_refused_before_anything_is_computed(open_store):
    calls = []
    with refused("storage/no-space"):
        open_store(limit=1000, progress=lambda *given: calls.append(given))
    assert calls == []


def test_a_full_disk_is_told_before_anything_is_computed(open_store, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    calls = []
    with refused("storage/no-space"):
        open_store(progress=lambda *given: calls.append(given))
    assert calls == []


def cache_with(tmp_path, plan, images, limit=250):
    cache = ActivationCache(tmp_path, plan, (1, 1, 5, 10), limit=limit)
    cache.make_room(images)
    for image in images:
        cache.write(image, np.zeros((1, 1, 5, 10), dtype=np.int16))
    return cache


def test_the_plan_used_least_recently_makes_room(tmp_path):
    for number, plan in enumerate(("a", "b")):
        cache_with(tmp_path, plan, ["x"])
        os.utime(tmp_path / plan, (1_000_000 + number,) * 2)
    cache_with(tmp_path, "c", ["x"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_a_plan_that_is_needed_at_the_same_time_makes_no_room(tmp_path):
    cache_with(tmp_path, "a", ["x"])
    both = ActivationCache(tmp_path, "b", (1, 1, 5, 10), limit=150, kept=["a", "b"])
    with refused("storage/no-space"):
        both.make_room(["x"])
    assert (tmp_path / "a" / "x.bf16").exists()


def test_a_plan_that_another_command_uses_makes_no_room(tmp_path):
    used = cache_with(tmp_path, "a", ["x"], limit=150)
    with refused("storage/no-space", match="by other commands"):
        cache_with(tmp_path, "b", ["x"], limit=150)
    assert used.has("x")
    del used
    gc.collect()
    assert cache_with(tmp_path, "b", ["x"], limit=150).has("x")
    assert not (tmp_path / "a").exists()


def test_a_cache_that_somebody_cleared_is_filled_again(tmp_path):
    cache = cache_with(tmp_path, "a", ["x"])
    shutil.rmtree(tmp_path)
    cache.write("x", np.ones((1, 1, 5, 10), dtype=np.int16))
    assert cache.read("x", 0).all()


def test_images_that_nobody_asks_for_make_room_and_those_asked_for_stay(tmp_path):
    cache = cache_with(tmp_path, "a", ["x", "y"])
    cache.make_room(["y", "z"])
    assert not cache.has("x")
    assert cache.has("y")


def test_large_pictures_come_in_small_batches_so_that_progress_shows():
    size = activation_batches._size
    small, large = Grid(16, 16), Grid(46, 46)
    assert [size(grid) for grid in (small, large, Grid(100, 100))] == [16, 1, 1]
    assert size(Grid(16, 16, 4)) == 4
