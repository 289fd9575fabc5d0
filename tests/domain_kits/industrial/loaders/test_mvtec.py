"""The loader `mvtec`: counts on real sets, products, masks, and what damaged folders become."""

import collections
import shutil
from pathlib import Path

import pytest
from PIL import Image

from moekit import DataError
from moekit.data.images import read_image, read_mask
from moekit.testing import refused
from moekit_industrial.loaders.examples import write_image, write_mask, write_mvtec
from moekit_industrial.loaders.named import load_mvtec


@pytest.fixture
def two(tmp_path):
    """Products bolt and nut: 12 good images to train on, 4 good and 4 scratched to test."""
    return write_mvtec(tmp_path / "line")


def counts(dataset):
    return collections.Counter((sample.split, sample.label) for sample in dataset.samples)


def load(path, seed=0):
    return load_mvtec(Path(path), seed)


@pytest.mark.parametrize(
    ("name", "train", "good", "defective"),
    [("mvtec_screw", 320, 41, 119), ("magnetic_tile", 758, 194, 388)],
)
def test_real_sets_are_read_whole(shared, name, train, good, defective):
    dataset = load(shared / "data" / name)
    found = counts(dataset)
    assert found["train", 0] + found["val", 0] == train
    assert found["val", 0] == pytest.approx(train / 5, abs=1)
    assert (found["test", 0], found["test", 1]) == (good, defective)
    assert dataset.skipped == ()
    assert sum(sample.mask is not None for sample in dataset.samples) == defective
    for sample in [s for s in dataset.samples if s.mask][::40]:
        width, height = read_image(sample.path).size
        assert read_mask(sample.mask, (height, width)).any()
    assert "by the names" not in dataset.source


def test_exposures_of_one_tile_lie_in_one_split(shared):
    dataset = load(shared / "data/magnetic_tile")
    homes = collections.defaultdict(set)
    for sample in dataset.samples:
        homes[sample.group].add(sample.split)
    assert None not in homes
    assert len(homes) > 200
    assert all(len(splits) == 1 for splits in homes.values())


def test_a_folder_of_products_is_read_with_the_product_in_id_subtype_and_facts(two):
    dataset = load(two)
    assert counts(dataset) == {
        ("train", 0): 18,
        ("val", 0): 6,
        ("test", 0): 8,
        ("test", 1): 8,
    }
    sample = next(s for s in dataset.samples if s.id == "nut/test/scratch/002.png")
    assert sample.subtype == "nut"
    assert sample.facts == {"product": "nut", "defect": "scratch"}
    assert sample.mask == (two / "nut/ground_truth/scratch/002_mask.png").resolve()
    assert all(
        s.mask is None and s.facts["defect"] == "good" for s in dataset.samples if not s.label
    )
    assert dataset.caution == ""


def test_products_are_picked_and_an_unknown_one_lists_those_there_are(two):
    assert {s.subtype for s in load(f"{two}?products=nut").samples} == {"nut"}
    with refused("data/bad-option", match="bolt, nut"):
        load(f"{two}?products=nut,screw")


def test_one_product_has_ids_without_its_name(two):
    dataset = load(two / "bolt")
    assert dataset.name == "mvtec bolt"
    assert "test/scratch/000.png" in {sample.id for sample in dataset.samples}


def test_missing_masks_shift_no_other_and_are_counted(two):
    (two / "bolt/ground_truth/scratch/001_mask.png").unlink()
    dataset = load(two / "bolt")
    masks = {s.id: s.mask and s.mask.name for s in dataset.samples if s.label}
    assert masks == {
        "test/scratch/000.png": "000_mask.png",
        "test/scratch/001.png": None,
        "test/scratch/002.png": "002_mask.png",
        "test/scratch/003.png": "003_mask.png",
    }
    assert "1 of 4 defective images have no mask" in dataset.caution
    assert "bolt by the names of its folders, since anomalib" in dataset.source


def test_masks_of_a_kind_never_go_to_another_kind_of_the_same_names(two):
    place = two / "bolt"
    for number in range(4):
        write_image(place / f"test/dent/{number:03}.png", 900 + number, True)
    shutil.move(place / "ground_truth/scratch", place / "ground_truth/dent")
    dataset = load(place)
    masks = {s.id: s.mask for s in dataset.samples if s.label}
    assert all((mask is not None) == ("dent" in name) for name, mask in masks.items())
    assert "4 of 8 defective images" in dataset.caution


def test_a_product_without_any_mask_is_read(two):
    shutil.rmtree(two / "bolt/ground_truth")
    dataset = load(two / "bolt")
    assert counts(dataset)["test", 1] == 4
    assert "4 of 4 defective images" in dataset.caution


def test_a_mask_of_no_image_and_images_in_odd_places_are_left_out_by_name(two):
    write_mask(two / "bolt/ground_truth/scratch/999_mask.png")
    write_image(two / "bolt/test/scratch/deeper/a.png", 700)
    write_image(two / "bolt/preview.png", 701)
    write_image(two / "bolt/train/scratch/b.png", 702, True)
    dataset = load(two / "bolt")
    reasons = {skip.id: skip.reason for skip in dataset.skipped}
    assert set(reasons) == {
        "ground_truth/scratch/999_mask.png",
        "test/scratch/deeper/a.png",
        "preview.png",
        "train/scratch/b.png",
    }
    assert "mask of no defective image" in reasons["ground_truth/scratch/999_mask.png"]
    assert "defective" in reasons["train/scratch/b.png"]
    assert counts(dataset) == counts(load(two / "nut"))


def test_a_product_with_a_misnamed_training_folder_is_named(two):
    (two / "nut/train").rename(two / "nut/Train")
    dataset = load(two)
    assert [(skip.id, "no product" in skip.reason) for skip in dataset.skipped] == [("nut", True)]


def test_empty_and_missing_files_are_left_out_by_name_and_truncated_ones_when_read(two):
    (two / "bolt/train/good/000.png").write_bytes(b"")
    (two / "bolt/test/good/012.png").unlink()
    (two / "bolt/test/good/012.png").symlink_to(two / "nowhere.png")
    broken = two / "bolt/train/good/001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    dataset = load(two / "bolt")
    assert [(s.id, s.split, s.label) for s in dataset.skipped] == [
        ("test/good/012.png", "test", 0),
        ("train/good/000.png", "train", 0),
    ]
    assert "train/good/001.png" in {sample.id for sample in dataset.samples}
    with refused("image/damaged", match=r"001\.png"):
        read_image(broken)


def test_links_are_followed_wherever_they_lead(two, tmp_path):
    outside = tmp_path / "archive"
    shutil.move(two / "bolt/train/good", outside)
    (two / "bolt/train/good").symlink_to(outside)
    (tmp_path / "linked").symlink_to(two / "bolt")
    dataset = load(tmp_path / "linked")
    assert counts(dataset) == counts(load(two / "nut"))
    assert {sample.subtype for sample in dataset.samples} == {"bolt"}


def test_a_folder_whose_name_is_not_ascii_is_read(two, tmp_path):
    place = tmp_path / "Prüfteile/Größe 1"
    place.parent.mkdir()
    shutil.copytree(two / "bolt", place)
    assert counts(load(place)) == counts(load(two / "bolt"))


def test_other_formats_than_png_are_read(two):
    for path in (two / "bolt").rglob("*.png"):
        if "ground_truth" not in path.parts:
            Image.open(path).save(path.with_suffix(".BMP"))
            path.unlink()
    assert counts(load(two / "bolt")) == counts(load(two / "nut"))


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(parents=True)])
def test_a_missing_and_an_empty_folder_say_what_to_do(tmp_path, make):
    make(tmp_path / "set")
    with pytest.raises(DataError) as caught:
        load(tmp_path / "set")
    assert "set" in caught.value.whose
    assert "prepare_data" in caught.value.fix or "good=PATH" in caught.value.fix


def test_a_product_without_usable_training_images_is_refused_by_name(two):
    shutil.rmtree(two / "nut/train/good")
    with refused("data/no-good-image", match="'nut'"):
        load(two)


def test_an_image_of_train_and_test_is_refused_with_both_names(two):
    shutil.copy(two / "bolt/train/good/003.png", two / "bolt/test/good/copy.png")
    with refused("data/same-image") as caught:
        load(two / "bolt")
    assert "test/good/copy.png" in caught.value.what
    assert "train/good/003.png" in caught.value.what


def test_masks_that_are_empty_or_lead_nowhere_are_named_and_counted(two):
    truth = two / "bolt/ground_truth/scratch"
    (truth / "000_mask.png").write_bytes(b"")
    (truth / "001_mask.png").unlink()
    (truth / "001_mask.png").symlink_to(two / "nowhere.png")
    dataset = load(two / "bolt")
    assert [skip.id for skip in dataset.skipped] == [
        "mask of test/scratch/000.png",
        "mask of test/scratch/001.png",
    ]
    assert "2 of 4 defective images have no mask" in dataset.caution


def test_a_mask_that_is_no_image_is_refused_by_name_when_it_is_read(two):
    mask = two / "bolt/ground_truth/scratch/000_mask.png"
    mask.write_text("no image")
    sample = next(s for s in load(two / "bolt").samples if s.mask and s.mask.name == mask.name)
    with pytest.raises(DataError, match=r"000_mask\.png"):
        read_mask(sample.mask, (32, 32))
