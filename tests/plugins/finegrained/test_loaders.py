"""The loaders of groceries and of CIFAR-100."""

import collections
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moekit.data.images import read_image
from moekit.testing import refused
from moekit_finegrained import cifar100, grocery
from moekit_finegrained.cifar100 import load_cifar100
from moekit_finegrained.grocery import load_grocery


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop").mkdir()
    return grocery.write_example(tmp_path / "shop")


@pytest.fixture
def sheets(tmp_path):
    (tmp_path / "sheets").mkdir()
    return cifar100.write_example(tmp_path / "sheets")


def per_class(dataset, split):
    return collections.Counter(s.label for s in dataset.samples if s.split == split)


def test_both_levels_of_groceries_are_read(shop):
    fine, coarse = load_grocery(shop, 0), load_grocery(Path(f"{shop}?level=coarse"), 0)
    assert fine.classes == ("kind 0", "kind 1", "kind 2", "kind 3")
    assert coarse.classes == ("sort 0", "sort 1")
    assert {s.subtype for s in fine.samples if s.label == 3} == {"sort 1"}
    assert {(f.id, f.label // 2) for f in fine.samples} == {(c.id, c.label) for c in coarse.samples}
    assert per_class(fine, "train") == dict.fromkeys(range(4), 4)


def test_a_photo_that_is_missing_is_skipped_and_counted(shop):
    (shop / "images/train_0_0.png").unlink()
    assert [skip.id for skip in load_grocery(shop, 0).skipped] == ["train_0_0.png"]


@pytest.mark.parametrize(
    ("old", "new", "code", "named"),
    [
        ("train_0_0.png,0,0,train", "train_0_0.png,9,0,train", "data/unknown-class", "'9'"),
        ("train_0_0.png,0,0,train", "train_0_0.png,x,0,train", "data/unknown-class", "'x'"),
        ("train_0_0.png,0,0,train", "train_0_0.png,0,0,dev", "data/unknown-split", "'dev'"),
        ("train_0_0.png,0,0,train", "../secret.png,0,0,train", "data/bad-path", ""),
        ("train_0_0.png,0,0,train", "train_0_1.png,0,0,train", "data/duplicate-id", ""),
        ("file,", "name,", "data/bad-header", "'file'"),
    ],
)
def test_an_index_that_cannot_be_meant_is_refused(shop, old, new, code, named):
    index = shop / "index.csv"
    index.write_text(index.read_text().replace(old, new))
    with refused(code, match=named):
        load_grocery(shop, 0)


@pytest.mark.parametrize(
    ("old", "new", "code", "named"),
    [
        ("3,kind 3", "4,kind 3", "data/class-list", ""),
        ("3,kind 3", "3,kind 2", "data/class-list", ""),
        ("3,kind 3,1,sort 1", "3,kind 3,1,sort x", "data/contradiction", "'sort 1' and 'sort x'"),
    ],
)
def test_classes_that_contradict_each_other_are_refused(shop, old, new, code, named):
    table = shop / "classes.csv"
    table.write_text(table.read_text().replace(old, new))
    with refused(code, match=named):
        load_grocery(shop, 0)


def test_an_unknown_level_is_refused(shop):
    with refused("data/bad-option"):
        load_grocery(Path(f"{shop}?level=middle"), 0)


def test_pictures_of_sheets_are_theirs_to_the_pixel(sheets):
    dataset = load_cifar100(sheets, 0)
    assert dataset.classes == ("apple", "bear", "clock")
    assert per_class(dataset, "train") == dict.fromkeys(range(3), 8)
    for sample in dataset.samples:
        split, name, number = sample.id.split("/")
        with Image.open(sheets / split / f"{name}.webp") as sheet:
            pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 32, 32, 3)[int(number)]
        np.testing.assert_array_equal(np.asarray(read_image(sample.path)), pixels)


def test_a_class_whose_name_no_file_can_have_has_no_sheet(sheets):
    names = (sheets / "classes.txt").read_text().split()
    (sheets / "classes.txt").write_text("\n".join([*names, "a" * 300]) + "\n")
    with refused("data/missing-class"):
        load_cifar100(sheets, 0)


def test_a_changed_sheet_is_read_again(sheets):
    before = load_cifar100(sheets, 0).samples[0].path.read_bytes()
    noise = np.random.default_rng(5).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(sheets / "train/00_apple.webp", lossless=True)
    dataset = load_cifar100(sheets, 0)
    assert per_class(dataset, "train")[0] == 2
    assert dataset.samples[0].path.read_bytes() != before


def test_a_sheet_of_another_size_and_no_sheet_are_refused(sheets, tmp_path):
    Image.new("RGB", (32, 40)).save(sheets / "val/00_apple.webp", lossless=True)
    with refused("data/wrong-layout", match="32 x 40"):
        load_cifar100(sheets, 0)
    (tmp_path / "none").mkdir()
    (tmp_path / "none/classes.txt").write_text("a\nb\n")
    with refused("data/wrong-layout"):
        load_cifar100(tmp_path / "none", 0)
    (tmp_path / "none/classes.txt").write_text("a\n")
    with refused("data/class-list"):
        load_cifar100(tmp_path / "none", 0)


def test_the_real_groceries_have_81_classes_and_val_lacks_21(shared):
    dataset = load_grocery(shared / "data/grocery", 0)
    assert len(dataset.classes) == 81
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (486, 120)
    assert per_class(dataset, "train") == dict.fromkeys(range(81), 6)
    assert "val lacks 21 of 81 classes" in dataset.split_note
    coarse = load_grocery(Path(f"{shared / 'data/grocery'}?level=coarse&shots=3"), 0)
    assert len(coarse.classes) == 43
    assert set(per_class(coarse, "train").values()) == {3}


def test_the_real_sheets_hold_a_hundred_classes(shared):
    dataset = load_cifar100(Path(f"{shared / 'data/cifar100'}?shots=5"), 0)
    assert len(dataset.classes) == 100
    assert per_class(dataset, "train") == dict.fromkeys(range(100), 5)
    assert per_class(dataset, "val") == dict.fromkeys(range(100), 8)
    assert dataset.classes[dataset.split("val")[0].label] == "apple"
