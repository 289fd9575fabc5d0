"""Each set that anomalib knows, in a small copy of its layout."""

import collections
import json
import os
import shutil
import socket
from pathlib import Path

import anomalib.data
import numpy as np
import pytest
from PIL import Image

from moekit.data.images import read_mask
from moekit.testing import refused
from moekit_industrial.loaders.examples import (
    write_btad,
    write_image,
    write_kolektor,
    write_mask,
    write_mvtec,
    write_visa,
)
from moekit_industrial.loaders.formats import FORMATS
from moekit_industrial.loaders.named import load_anomalib, load_btad, load_visa


def write_autovi(folder):
    write_mvtec(folder)
    for mask in sorted(folder.glob("*/ground_truth/*/*.png")):
        place = mask.with_name(mask.name.split("_")[0])
        place.mkdir()
        mask.rename(place / "0000.png")


def write_loco(folder):
    write_autovi(folder)
    for product in ("bolt", "nut"):
        for number in range(5):
            write_image(
                folder / product / f"validation/good/{number}.png", ord(product[0]) + 500 + number
            )
        for path in sorted((folder / product).glob("ground_truth/scratch/*/0000.png")):
            path.rename(path.with_name("000.png"))
        write_mask(folder / product / "ground_truth/scratch/001/001.png", empty=True)


def write_mvtecad2(folder):
    write_mvtec(folder, kind="bad")
    for product in sorted(folder.iterdir()):
        (product / "test").rename(product / "test_public")
        (product / "ground_truth").rename(product / "test_public/ground_truth")
        for number in range(5):
            write_image(
                product / f"validation/good/{number}.png", ord(product.name[0]) + 500 + number
            )
        write_image(product / "test_private/secret.png", 600)


def write_realiad(folder):
    for category in ("tape", "usb"):
        place = folder / "realiad_256" / category
        lines = {"train": [], "test": []}
        for part in range(8):
            good = part < 6
            kind = f"OK/S{part:04}" if good else f"NG/AK/S{part:04}"
            for view in range(1, 4):
                name = f"{kind}/{category}_{part}_C{view}.jpg"
                write_image(place / name, ord(category[0]) * 1000 + part * 10 + view, not good)
                line = {"image_path": name, "mask_path": None, "anomaly_class": "OK"}
                if not good:
                    line |= {"mask_path": name.replace(".jpg", ".png"), "anomaly_class": "AK"}
                    write_mask(place / line["mask_path"])
                lines["train" if part < 5 else "test"].append(line)
        table = folder / f"realiad_jsons/realiad_jsons/{category}.json"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(json.dumps(lines))


def write_vad(folder):
    write_mvtec(folder, kind="bad")
    for truth in folder.glob("*/ground_truth"):
        shutil.rmtree(truth)


WRITERS = {
    "autovi": write_autovi,
    "btech": write_btad,
    "kolektor": write_kolektor,
    "mpdd": write_mvtec,
    "mvtecad": write_mvtec,
    "mvtecad2": write_mvtecad2,
    "mvtec_loco": write_loco,
    "realiad": write_realiad,
    "vad": write_vad,
    "visa": write_mvtec,
}
EXPECTED = {  # train and val, good test, defective, masks
    "kolektor": (16, 4, 4, 4),
    "mvtecad2": (34, 8, 8, 8),
    "mvtec_loco": (34, 8, 8, 8),
    "realiad": (30, 6, 12, 12),
    "vad": (24, 8, 8, 0),
}


def load(folder, text):
    return load_anomalib(Path(f"{folder}?{text}"), 0)


def test_each_format_is_tested_and_its_downloader_exists():
    assert set(WRITERS) == set(FORMATS)
    for kind in FORMATS.values():
        assert hasattr(getattr(anomalib.data, kind.downloader), "prepare_data")


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_each_format_is_read_without_a_download(tmp_path, monkeypatch, name):
    def refuse(*arguments, **options):
        raise AssertionError("a loader opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    WRITERS[name](folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    dataset = load(folder, f"format={name}")
    found = collections.Counter((sample.split, sample.label) for sample in dataset.samples)
    learn, good, defective, masks = EXPECTED.get(name, (24, 8, 8, 8))
    assert found["train", 0] + found["val", 0] == learn
    assert found["val", 0] > 0
    assert (found["test", 0], found["test", 1]) == (good, defective)
    assert sum(found.values()) == learn + good + defective
    for sample in dataset.samples:
        assert (sample.facts["defect"] == "good") == (sample.label == 0)
        if sample.mask is not None:
            assert read_mask(sample.mask, (32, 32)).sum() == 64
    assert sum(sample.mask is not None for sample in dataset.samples) == masks
    assert dataset.skipped == ()
    assert dataset.licence == "CC-BY-NC-SA-4.0"
    if name not in ("vad", "mvtec_loco"):  # without masks; where pandas is too new for anomalib
        assert "by the names" not in dataset.source
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_a_device_in_place_of_a_mask_is_refused_by_name(tmp_path, make):
    write_kolektor(tmp_path)
    mask = sorted(tmp_path.rglob("*_label.bmp"))[0]
    mask.unlink()
    make(mask)
    with refused("data/not-a-file", match=mask.name):
        load(tmp_path, "format=kolektor")


def test_categories_are_picked(tmp_path):
    write_realiad(tmp_path)
    dataset = load(tmp_path, "format=realiad&category=usb")
    assert {sample.subtype for sample in dataset.samples} == {"usb"}
    with refused("data/bad-option", match="tape, usb"):
        load(tmp_path, "format=realiad&category=screw")


def test_the_views_of_one_part_are_a_group_and_lie_in_one_split(tmp_path):
    write_realiad(tmp_path)
    dataset = load(tmp_path, "format=realiad")
    homes = collections.defaultdict(set)
    for sample in dataset.samples:
        homes[sample.group].add(sample.split)
    assert len(homes) == 16
    assert all(len(splits) == 1 for splits in homes.values())
    assert {s.facts["defect"] for s in dataset.samples} == {"good", "AK"}


def test_given_validation_images_are_kept(tmp_path):
    write_mvtecad2(tmp_path)
    dataset = load(tmp_path, "format=mvtecad2")
    assert {"validation" in sample.id for sample in dataset.split("val")} == {True}
    assert len(dataset.split("val")) == 10


def test_several_masks_of_an_image_become_their_union(tmp_path, monkeypatch):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    write_loco(tmp_path / "set")
    part = tmp_path / "set/bolt/ground_truth/scratch/001/001.png"
    pixels = np.zeros((32, 32), dtype=np.uint8)
    pixels[20:22, 20:22] = 3
    Image.fromarray(pixels).save(part)
    dataset = load(tmp_path / "set", "format=mvtec_loco")
    mask = next(s.mask for s in dataset.samples if s.id == "bolt/test/scratch/001.png")
    assert read_mask(mask, (32, 32)).sum() == 64 + 4
    assert mask.is_relative_to(tmp_path / "cache")
    whole = mask.read_bytes()
    for damaged in (whole[:-20], (tmp_path / "set/bolt/ground_truth/scratch/001/001.png")):
        mask.write_bytes(damaged if isinstance(damaged, bytes) else damaged.read_bytes())
        load(tmp_path / "set", "format=mvtec_loco")
        assert mask.read_bytes() == whole


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("format=mvtec3d", "data/bad-option", "one of autovi, btech"),
        ("category=usb", "data/bad-option", "format"),
        ("format=mpdd&resolution=256", "data/bad-option", "resolution"),
        ("format=realiad&resolution=512", "data/wrong-layout", "realiad_512"),
        ("format=realiad&json=other", "data/unreadable", "other/tape.json"),
        ("format=kolektor", "data/unreadable", ""),
        ("format=mpdd", "data/wrong-layout", ""),
    ],
)
def test_options_and_folders_that_do_not_fit_are_refused(tmp_path, text, code, named):
    write_realiad(tmp_path)
    with refused(code, match=named):
        load(tmp_path, text)


def test_a_set_that_is_not_there_names_the_downloader(tmp_path):
    with refused("data/not-found", match=r"anomalib\.data\.Visa\(root=PATH\)\.prepare_data"):
        load_visa(tmp_path / "visa", 0)
    with refused("data/not-found", match=r"anomalib\.data\.BTech"):
        load_btad(tmp_path / "btad", 0)


def test_a_mask_of_kolektor_that_cannot_be_read_makes_no_defect(tmp_path):
    write_kolektor(tmp_path)
    mask = tmp_path / "kos00/Part0_label.bmp"
    mask.write_text("no image")
    dataset = load(tmp_path, "format=kolektor")
    (skip,) = dataset.skipped
    assert skip.id == "kos00/Part0.jpg"
    assert "Part0_label.bmp" in skip.reason
    assert skip.id not in {sample.id for sample in dataset.samples}
    mask.unlink()
    with refused("data/unreadable") as caught:
        load(tmp_path, "format=kolektor")
    assert "NAME_label.bmp" in caught.value.fix


def test_visa_is_read_as_it_is_published_and_as_anomalib_lays_it_out(tmp_path):
    published, laid_out = tmp_path / "one", tmp_path / "two"
    published.mkdir()
    dataset = load_visa(write_visa(published), 0)
    found = collections.Counter((sample.split, sample.label) for sample in dataset.samples)
    assert found == {("train", 0): 9, ("val", 0): 3, ("test", 0): 4, ("test", 1): 4}
    assert all((sample.mask is not None) == bool(sample.label) for sample in dataset.samples)
    assert {sample.subtype for sample in dataset.samples} == {"candle"}
    write_mvtec(laid_out / "visa_pytorch", kind="bad")
    other = load_visa(Path(f"{laid_out}?products=nut"), 0)
    assert {sample.subtype for sample in other.samples} == {"nut"}


def test_a_line_of_visa_that_leaves_the_folder_is_refused_with_its_number(tmp_path):
    write_visa(tmp_path)
    table = tmp_path / "split_csv/1cls.csv"
    table.write_text(table.read_text() + "candle,train,normal,../../secret.png,\n")
    with refused("data/bad-path") as caught:
        load_visa(tmp_path, 0)
    assert caught.value.whose.endswith("line 22")


def test_btad_keeps_masks_of_other_formats_and_odd_names(tmp_path):
    write_btad(tmp_path)
    place = tmp_path / "bolt"
    (place / "test/ko/003.png").rename(place / "test/ko/lamp.png")
    (place / "ground_truth/ko/003.png").rename(place / "ground_truth/ko/lamp.png")
    masks = {s.path.name: s.mask.name for s in load_btad(place, 0).samples if s.label}
    assert masks["lamp.png"] == "lamp.png"
