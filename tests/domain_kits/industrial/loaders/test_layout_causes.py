"""Layouts that people really have: names of good folders, links, masks that cannot be used."""

import shutil

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused
from moekit_industrial.loaders.examples import write_image, write_mask, write_mvtec, write_visa
from moekit_industrial.loaders.good import load_good
from moekit_industrial.loaders.named import load_btad, load_mvtec, load_visa
from moekit_industrial.truth import defect_masks


@pytest.fixture
def bolt(tmp_path):
    """One product: 12 good images to train on, 4 good and 4 scratched to test."""
    folder = write_mvtec(tmp_path / "line") / "bolt"
    shutil.rmtree(tmp_path / "line/nut")
    return folder


def counts(dataset):
    labels = [sample.label for sample in dataset.split("test")]
    return labels.count(0), labels.count(1)


@pytest.mark.parametrize(
    "name", ["ok", "Good", "OK", "normal", "NORMAL", "no defect", "defect-free"]
)
def test_good_parts_are_good_whatever_their_folder_is_called(bolt, name):
    (bolt / "test/good").rename(bolt / "test" / name)
    dataset = load_mvtec(bolt, 0)
    assert counts(dataset) == (4, 4)
    assert {s.facts["defect"] for s in dataset.samples} == {"good", "scratch"}
    (note,) = dataset.notes
    assert f"test/{name}" in note


def test_good_parts_to_train_on_may_have_another_name_too(bolt):
    (bolt / "train/good").rename(bolt / "train/OK")
    dataset = load_mvtec(bolt, 0)
    assert len(dataset.split("train")) + len(dataset.split("val")) == 12
    assert "train/OK" in dataset.notes[0]


def test_the_usual_names_need_no_word(bolt, tmp_path):
    assert load_mvtec(bolt, 0).notes == ()
    from moekit_industrial.loaders.examples import write_btad

    assert load_btad(write_btad(tmp_path / "btad"), 0).notes == ()


def test_good_images_among_the_defective_ones_are_told(tmp_path, bolt):
    (bolt / "test/good").rename(bolt / "test/ok")
    dataset = load_good(bolt.parent / f"bolt/train/good?defective={bolt / 'test'}", 0)
    assert counts(dataset) == (4, 4)
    assert "defective/ok" in dataset.notes[0]


def test_a_test_folder_that_is_a_link_to_the_training_folder_is_refused_as_such(bolt):
    shutil.rmtree(bolt / "test/good")
    (bolt / "test/good").symlink_to(bolt / "train/good")
    with refused("data/same-folder", match=r"train/good and test/good"):
        load_mvtec(bolt, 0)


def test_copies_in_train_and_test_are_counted(bolt):
    shutil.rmtree(bolt / "test/good")
    shutil.copytree(bolt / "train/good", bolt / "test/good")
    with refused("data/same-image", match=r"as 11 other pairs.*12 of 28 files are copies"):
        load_mvtec(bolt, 0)


def test_a_product_of_two_names_is_read_once(bolt):
    (bolt.parent / "nut").symlink_to(bolt)
    dataset = load_mvtec(bolt.parent, 0)
    assert {sample.subtype for sample in dataset.samples} == {"bolt"}
    assert [(skip.id, skip.reason) for skip in dataset.skipped] == [
        ("nut", "it is the folder of the product bolt (a link)")
    ]


def test_a_misnamed_training_folder_is_named(bolt):
    (bolt / "train").rename(bolt / "Train")
    with refused("data/wrong-layout", match="there is 'Train'"):
        load_mvtec(bolt, 0)


def parts(bolt):
    """Makes the mask of 000 one of two parts; returns their folder."""
    folder = bolt / "ground_truth/scratch/000"
    folder.mkdir()
    (bolt / "ground_truth/scratch/000_mask.png").rename(folder / "000.png")
    write_mask(folder / "001.png")
    return folder


def spoil_size(path):
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(path)


def spoil_content(path):
    path.write_bytes(path.read_bytes()[:40])


def spoil_all(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [spoil_size, spoil_content, spoil_all])
def test_a_mask_with_an_unusable_part_is_left_out_by_name_and_the_set_is_read(
    bolt, spoil, monkeypatch, tmp_path
):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    folder = parts(bolt)
    assert all(sample.mask for sample in load_mvtec(bolt, 0).samples if sample.label)
    spoil(folder / "001.png")
    dataset = load_mvtec(bolt, 0)
    masks = {sample.id: sample.mask for sample in dataset.samples if sample.label}
    assert [name for name, mask in masks.items() if mask is None] == ["test/scratch/000.png"]
    (skip,) = dataset.skipped
    assert skip.id == "mask of test/scratch/000.png"
    assert "001.png" in skip.reason
    assert "1 of 4 defective images have no mask" in dataset.caution


def test_a_preview_next_to_a_mask_is_left_out_by_name(bolt):
    truth = bolt / "ground_truth/scratch"
    Image.open(truth / "001_mask.png").save(truth / "001.jpg")
    dataset = load_mvtec(bolt, 0)
    masks = {sample.id: sample.mask for sample in dataset.samples if sample.label}
    assert masks["test/scratch/001.png"].name == "001_mask.png"
    (skip,) = dataset.skipped
    assert (skip.id, skip.reason) == (
        "mask of test/scratch/001.png",
        "001.jpg: a JPEG is no mask; 001_mask.png is used",
    )


def test_a_mask_that_visa_names_and_that_is_not_there_is_named(tmp_path):
    folder = write_visa(tmp_path)
    (folder / "candle/Data/Masks/Anomaly/001.png").unlink()
    dataset = load_visa(folder, 0)
    assert [skip.id for skip in dataset.skipped] == ["mask of candle/Data/Images/Anomaly/001.JPG"]


def test_pictures_that_are_not_read_are_named(bolt):
    (bolt / "test/scratch/photo.heic").write_bytes(b"x")
    Image.open(bolt / "train/good/000.png").save(bolt / "train/good/000.gif")
    (bolt / "train/good/000.png").unlink()
    dataset = load_mvtec(bolt, 0)
    assert "train/good/000.gif" in {sample.id for sample in dataset.samples}
    assert [skip.id for skip in dataset.skipped] == ["test/scratch/photo.heic"]


def test_masks_that_cannot_be_learned_from_are_left_out_one_by_one(bolt):
    truth = bolt / "ground_truth/scratch"
    spoil_size(truth / "000_mask.png")
    spoil_content(truth / "001_mask.png")
    for number in range(4, 12):
        write_image(bolt / f"test/scratch/{number:03}.png", 900 + number, True)
        write_mask(truth / f"{number:03}_mask.png")
    dataset = defect_masks(load_mvtec(bolt, 0), 0)
    assert {skip.id for skip in dataset.skipped} == {"test/scratch/000.png", "test/scratch/001.png"}
    assert "8 x 8" in next(s.reason for s in dataset.skipped if s.id.endswith("000.png"))


def test_the_cases_of_the_field(case, monkeypatch, tmp_path):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path))
    assert counts(load_mvtec(case("02-mvtec-test-ok/mv_ok"), 0)) == (4, 3)
    dataset = load_mvtec(case("09-mask-parts/mv_parts"), 0)
    assert len(dataset.samples) == 18
    assert [skip.id for skip in dataset.skipped] == [
        "mask of test/scratch/000.png",
        "mask of test/scratch/001.png",
    ]
