"""Recovery: fit, distillation, files, resuming, on a small transformer and made pictures."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from moekit import MoEBackbone
from moekit.backbone.sparse import card
from moekit.backbone.sparse.form import SparseForm, load_form, save_form
from moekit.backbone.sparse.methods import METHODS
from moekit.data.stream import Preprocess
from moekit.testing import refused
from moekit.training.recover.carve import carve_form
from moekit.training.recover.distil import DistilRecipe
from moekit.training.recover.pictures import batches, split_pictures
from moekit.training.recover.quality import nearness_of_form, shaped
from moekit.training.recover.recovery import Recovery, recover
from moekit.training.recover.refit import refit
from moekit.training.recover.student import student_tokens, trained_parameters

PREPROCESS = Preprocess(size=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of smooth colours with edges."""
    place = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(24):
        small = Image.fromarray(generator.integers(0, 255, (5, 6, 3), dtype=np.uint8))
        method = Image.Resampling.BICUBIC if number % 2 else Image.Resampling.NEAREST
        small.resize((80, 72), method).save(place / f"{number:02}.png")
    return place


@pytest.fixture(scope="module")
def dense(
    make_vit: Callable[..., VisionTransformer], carve: Callable[..., MoEBackbone]
) -> MoEBackbone:
    """A small transformer with all its experts and no form."""
    return carve(make_vit())


def images_of(folder: Path, count: int = 24) -> list[Tensor]:
    files = sorted(folder.iterdir())[:count]
    return list(batches(files, PREPROCESS, batch_size=4))


@pytest.fixture(scope="module")
def carved(dense: MoEBackbone, folder: Path) -> SparseForm:
    """Its form, in closed form."""
    return carve_form(
        dense,
        images_of(folder, 16),
        method=METHODS["linear"],
        top_k=2,
        rank=8,
        progress=lambda done, total: None,
    )


def patches(dense: MoEBackbone, form: SparseForm, folder: Path, k: int = 2) -> float:
    return nearness_of_form(dense, form, images_of(folder)[4:], top_k=[k])[k].patches


def task(carved: SparseForm, folder: Path, out: Path, **changes: object) -> Recovery:
    recipe = DistilRecipe(steps=6, batch_size=2, top_k=2, warmup=1)
    whole = Recovery(
        start=carved,
        images=folder,
        out=out,
        passes=1,
        image_size=64,
        limit=None,
        resume=False,
        command="moekit backbone recover",
        recipe=recipe,
    )
    return dataclasses.replace(whole, **changes)


def quietly(task: Recovery, dense: MoEBackbone) -> dict[str, object]:
    return recover(task, dense, on_progress=lambda *_: None, on_line=lambda _: None)


def test_a_carved_backbone_is_exact_with_all_experts_and_near_with_some(
    dense: MoEBackbone, carved: SparseForm, folder: Path
) -> None:
    found = nearness_of_form(dense, carved, images_of(folder)[4:], top_k=[1, 4, dense.experts])
    assert found[dense.experts].patches == pytest.approx(1, abs=1e-6)
    assert found[1].patches < found[4].patches < 1
    plain = nearness_of_form(
        dense,
        carve_form(
            dense,
            images_of(folder, 16),
            method=METHODS["moefication"],
            top_k=4,
            rank=0,
            progress=lambda done, total: None,
        ),
        images_of(folder)[4:],
        top_k=[4],
    )
    assert found[4].patches > plain[4].patches


def test_shaping_a_backbone_leaves_the_dense_one_as_it_was(
    dense: MoEBackbone, carved: SparseForm, folder: Path, same_bits: Callable[..., bool]
) -> None:
    images = images_of(folder)[0]
    with torch.inference_mode():
        before = dense(images).final_BND
        sparse = shaped(dense, carved)
        sparse.top_k = 2
        assert not torch.allclose(sparse(images).final_BND, before)
        assert same_bits(dense(images).final_BND, before)
    assert dense.top_k == dense.experts


def test_the_fit_brings_features_nearer_on_pictures_it_has_not_seen(
    dense: MoEBackbone, carved: SparseForm, folder: Path
) -> None:
    fitted = refit(
        dense,
        carved,
        images_of(folder, 16),
        top_k=2,
        rank=8,
        arithmetic="fp32",
        progress=lambda done, total: None,
    )
    assert patches(dense, fitted, folder) > patches(dense, carved, folder)
    assert patches(dense, fitted, folder, dense.experts) == pytest.approx(1, abs=1e-6)


def test_the_student_computes_what_the_sparse_backbone_computes(
    dense: MoEBackbone, carved: SparseForm, folder: Path
) -> None:
    sparse = shaped(dense, carved)
    sparse.top_k = 2
    x_BND, _ = sparse.embed(images_of(folder)[0])
    student_BND = student_tokens(sparse, x_BND, top_k=2)[-1]
    assert torch.allclose(student_BND, sparse(images_of(folder)[0]).final_BND, atol=1e-4)


def test_gradients_reach_every_router_and_correction(
    dense: MoEBackbone, carved: SparseForm, folder: Path
) -> None:
    sparse = shaped(dense, carved)
    values = dict(trained_parameters(sparse))
    for value in values.values():
        value.requires_grad_(True)
    x_BND, _ = sparse.embed(images_of(folder)[0])
    student_tokens(sparse, x_BND, top_k=2)[-1].square().sum().backward()
    assert len(values) == 4 * len(dense.blocks)
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in values.values())


def test_a_backbone_without_a_form_has_nothing_to_recover(dense: MoEBackbone) -> None:
    with refused("usage/no-sparse-form"):
        list(trained_parameters(dense))


def test_a_recovery_writes_a_form_with_its_figures_and_clears_up(
    dense: MoEBackbone, carved: SparseForm, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "form.safetensors"
    facts = quietly(task(carved, folder, out), dense)
    assert [entry.name for entry in tmp_path.iterdir()] == ["form.safetensors"]
    stored = load_form(out)
    assert stored.facts == facts
    assert facts["pictures"] == {"train": 22, "held_out": 2}
    assert [len(dead) < 16 for dead in facts["health"]["dead"]] == [True] * 3  # type: ignore[index]
    assert min(facts["health"]["maxvio"]) >= 0  # type: ignore[index]
    assert facts["nearness"]["16"]["patches"] == pytest.approx(1, abs=1e-5)  # type: ignore[index]
    assert facts["nearness"]["2"]["patches"] >= facts["after_fit"]["patches"] - 1e-3  # type: ignore[index]


def test_the_card_tells_every_figure_of_a_recovered_form(
    dense: MoEBackbone, carved: SparseForm, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "form.safetensors"
    facts = quietly(task(carved, folder, out), dense)
    card.main([str(out)])
    text = (tmp_path / "form.md").read_text()
    for near in facts["nearness"].values():  # type: ignore[attr-defined]
        assert f"{near['patches']:.4f}" in text
    assert "22 everyday photographs" in text
    assert carved.dense_sha256 in text


def test_an_interrupted_recovery_goes_on_to_the_same_form(
    dense: MoEBackbone,
    carved: SparseForm,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    monkeypatch.setattr("moekit.training.recover.distil._CHECKPOINT_SECONDS", 0.0)
    quietly(task(carved, folder, whole), dense)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("distillation") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(task(carved, folder, parts), dense, on_progress=stop, on_line=lambda _: None)
    assert not parts.exists()
    with refused("usage/exists"):
        quietly(task(carved, folder, parts), dense)
    with refused("usage/other-run"):
        quietly(task(carved, folder, parts, passes=2, resume=True), dense)
    quietly(task(carved, folder, parts, resume=True), dense)
    for ours, theirs in zip(load_form(whole).blocks, load_form(parts).blocks, strict=True):
        for field in dataclasses.fields(ours):
            assert torch.equal(getattr(ours, field.name), getattr(theirs, field.name))


def stopped(
    carved: SparseForm, dense: MoEBackbone, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a recovery that ended in its distillation."""
    monkeypatch.setattr("moekit.training.recover.distil._CHECKPOINT_SECONDS", 0.0)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("distillation") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(task(carved, folder, out), dense, on_progress=stop, on_line=lambda _: None)
    return task(carved, folder, out).work


def test_a_recovery_does_not_go_on_with_other_pictures_of_the_same_names(
    dense: MoEBackbone,
    carved: SparseForm,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy, out = tmp_path / "pictures", tmp_path / "form.safetensors"
    shutil.copytree(folder, copy)
    stopped(carved, dense, copy, out, monkeypatch)
    first, second = sorted(copy.iterdir())[:2]
    content = first.read_bytes()
    shutil.copy(second, first)
    with refused("usage/other-run", match="pictures"):
        quietly(task(carved, copy, out, resume=True), dense)
    first.write_bytes(content)
    assert quietly(task(carved, copy, out, resume=True), dense)["pictures_sha256"]


def test_pictures_that_change_while_they_are_learned_from_end_a_recovery(
    dense: MoEBackbone, carved: SparseForm, folder: Path, tmp_path: Path
) -> None:
    copy, out = tmp_path / "pictures", tmp_path / "form.safetensors"
    shutil.copytree(folder, copy)

    def change(what: str, done: int, total: int) -> None:
        if what.startswith("distillation") and done == total:
            shutil.copy(*sorted(copy.iterdir())[:2])

    with refused("data/changed"):
        recover(task(carved, copy, out), dense, on_progress=change, on_line=lambda _: None)
    assert not out.exists()


def test_unfinished_work_that_was_damaged_is_not_gone_on_from(
    dense: MoEBackbone,
    carved: SparseForm,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole, out = tmp_path / "whole.safetensors", tmp_path / "form.safetensors"
    quietly(task(carved, folder, whole), dense)
    work = stopped(carved, dense, folder, out, monkeypatch)
    for name in ("distil.safetensors", "fitted.safetensors"):
        content = bytearray((work / name).read_bytes())
        content[-1] ^= 1
        (work / name).write_bytes(content)
    with refused("data/damaged-run", match="distil"):
        quietly(task(carved, folder, out, resume=True), dense)
    assert "fitted.safetensors has changed" in caplog.text
    (work / "distil.safetensors").unlink()
    quietly(task(carved, folder, out, resume=True), dense)
    for ours, theirs in zip(load_form(whole).blocks, load_form(out).blocks, strict=True):
        for field in dataclasses.fields(ours):
            assert torch.equal(getattr(ours, field.name), getattr(theirs, field.name))


def test_pictures_are_held_out_by_seed_and_bad_files_counted(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = split_pictures(tmp_path, share=0.25)
    assert (len(found.train), len(found.held_out), found.unreadable) == (18, 6, 1)
    assert not set(found.train) & set(found.held_out)
    assert split_pictures(tmp_path, share=0.25) == found
    assert split_pictures(tmp_path, share=0.25, seed=1) != found


def test_too_few_pictures_are_refused_with_advice(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "one.png")
    with refused("data/too-few"):
        split_pictures(tmp_path)


def test_a_crop_depends_on_seed_epoch_and_place_alone(folder: Path) -> None:
    files = sorted(folder.iterdir())[:4]
    first = next(batches(files, PREPROCESS, batch_size=4, epoch=1))
    again = next(batches(files, PREPROCESS, batch_size=4, epoch=1))
    other = next(batches(files, PREPROCESS, batch_size=4, epoch=2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_form_of_other_weights_is_refused(
    carved: SparseForm, tmp_path: Path, dense: MoEBackbone
) -> None:
    from moekit.backbone.sparse.sources import find_form

    path = tmp_path / "form.safetensors"
    save_form(carved, path)
    assert find_form(carved.dense_sha256, experts=16, form=str(path)) is not None
    with refused("weights/other-weights"):
        find_form("cd" * 32, experts=16, form=str(path))
    with refused("weights/other-weights"):
        find_form(carved.dense_sha256, experts=8, form=str(path))
    assert find_form("cd" * 32, experts=16) is None
    assert find_form(carved.dense_sha256, experts=16, form="none") is None
