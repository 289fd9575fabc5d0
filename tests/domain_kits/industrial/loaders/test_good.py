"""The loader `good`: good images only, and with something to test on."""

import collections
import shutil
from pathlib import Path

import pytest

from moekit.testing import refused
from moekit_industrial.loaders.examples import write_good, write_image, write_mask
from moekit_industrial.loaders.good import load_good


@pytest.fixture
def parts(tmp_path):
    """parts/good (12 images), parts/bad (3 kinds of place), parts/masks, parts/more_good."""
    place = tmp_path / "parts"
    (place / "good").mkdir(parents=True)
    write_good(place / "good")
    for number, name in enumerate(("a.png", "dent/b.png", "dent/c.png", "scratch/b.png")):
        write_image(place / "bad" / name, 200 + number, True)
    for name in ("a_mask.png", "dent/b.png", "scratch/b_mask.png"):
        write_mask(place / "masks" / name)
    for number in range(3):
        write_image(place / "more_good" / f"{number}.png", 300 + number)
    return place


def load(text, seed=0):
    return load_good(Path(text), seed)


def whole(parts):
    return f"{parts}/good?defective={parts}/bad&masks={parts}/masks&good_test={parts}/more_good"


def test_good_images_alone_become_train_and_val_without_a_test_split(parts):
    dataset = load(parts / "good")
    assert dataset.negatives_only
    assert dataset.split_names() == ("train", "val")
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (9, 3)
    assert {sample.subtype for sample in dataset.samples} == {"parts"}
    with refused("data/empty-split"):
        dataset.split("test")


def test_a_product_may_be_named(parts):
    dataset = load(f"{parts}/good?product=screw")
    assert {sample.facts["product"] for sample in dataset.samples} == {"screw"}


def test_defective_and_good_test_images_make_a_test_split(parts):
    dataset = load(whole(parts))
    assert collections.Counter((s.split, s.label) for s in dataset.samples) == {
        ("train", 0): 9,
        ("val", 0): 3,
        ("test", 0): 3,
        ("test", 1): 4,
    }
    found = {
        s.id: (s.facts["defect"], s.mask and s.mask.relative_to(parts / "masks").as_posix())
        for s in dataset.samples
        if s.label
    }
    assert found == {
        "defective/a.png": ("defective", "a_mask.png"),
        "defective/dent/b.png": ("dent", "dent/b.png"),
        "defective/dent/c.png": ("dent", None),
        "defective/scratch/b.png": ("scratch", "scratch/b_mask.png"),
    }
    assert "1 of 4 defective images have no mask" in dataset.caution
    assert dataset.skipped == ()
    assert "by its folders" not in dataset.source


def test_the_same_is_read_where_anomalib_refuses_the_name_of_the_folder(parts, tmp_path):
    other = tmp_path / "Prüfteile"
    shutil.copytree(parts, other)
    first, second = load(whole(parts)), load(whole(other))
    key = [(s.id, s.split, s.label, dict(s.facts)["defect"]) for s in first.samples]
    assert key == [(s.id, s.split, s.label, dict(s.facts)["defect"]) for s in second.samples]
    assert "by its folders, since anomalib" in second.source


def test_a_mask_of_no_image_is_named(parts):
    write_mask(parts / "masks/dent/z.png")
    assert [skip.id for skip in load(whole(parts)).skipped] == ["masks/dent/z.png"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("?defective={}/none", "data/not-found"),
        ("?masks={}/masks", "data/bad-option"),
        ("?defective={}/good/first", "data/nested-folders"),
        ("?defective={0}/good", "data/nested-folders"),
        ("?defective={0}/bad&masks={0}/bad/dent", "data/nested-folders"),
        ("?products=a", "data/bad-option"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused(parts, options, code):
    with refused(code):
        load(f"{parts}/good{options.format(parts)}")


def test_a_good_folder_that_holds_the_defective_ones_is_refused(parts):
    with refused("data/nested-folders"):
        load(f"{parts}?defective={parts}/bad")


def test_an_empty_folder_and_a_file_are_refused(parts):
    (parts / "empty").mkdir()
    for text in (parts / "empty", f"{parts}/good?defective={parts}/empty"):
        with refused("data/no-image"):
            load(text)
    with refused("data/not-found"):
        load(parts / "good/000.png")


def test_a_product_in_the_layout_of_mvtec_is_not_taken_for_good_images(parts):
    write_image(parts / "product/train/good/0.png", 1)
    write_image(parts / "product/test/scratch/0.png", 2, True)
    with refused("data/wrong-layout") as caught:
        load(parts / "product")
    assert "mvtec=PATH" in caught.value.fix


def test_a_defective_image_that_is_a_training_image_too_is_refused(parts):
    shutil.copy(parts / "good/000.png", parts / "bad/copy.png")
    with refused("data/same-image"):
        load(whole(parts))


def test_damaged_files_are_left_out_by_name(parts):
    (parts / "good/000.png").write_bytes(b"")
    (parts / "bad/gone.png").symlink_to(parts / "nowhere.png")
    dataset = load(whole(parts))
    assert [skip.id for skip in dataset.skipped] == ["000.png", "defective/gone.png"]


def test_a_folder_of_two_names_is_read_once_and_noted(parts):
    (parts / "good/second").mkdir()
    shutil.move(parts / "good/000.png", parts / "good/second")
    (parts / "good/again").symlink_to(parts / "good/second")
    (parts / "masks/tear").symlink_to(parts / "masks/dent")
    dataset = load(whole(parts))
    assert len(dataset.split("train")) + len(dataset.split("val")) == 12
    assert set(dataset.notes) == {
        "second is the folder again (a link); its files are read once",
        "masks: tear is the folder dent (a link); its files are read once",
    }
    (parts / "bad/tear").symlink_to(parts / "bad/dent")
    with refused("data/same-folder", match="tear and dent"):
        load(whole(parts))
