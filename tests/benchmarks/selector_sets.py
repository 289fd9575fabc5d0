"""Pictures of the domains between which the selector chooses, and of some that belong to none.

Each domain is dealt in train, val and test without a group on two sides: by tile, by drive, by
printing, by board, by scan or by recording as far as the set says it. Sets of single pictures are
dealt at random.
"""

from __future__ import annotations

import collections
import csv
import json
import random
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from moekit.data.images import read_image
from tests.benchmarks.task_runs import TINY

MOST = {"train": 12, "val": 6, "test": 6} if TINY else {"train": 100, "val": 60, "test": 60}
"""Pictures of a domain by split, at most."""
SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}
NO_KIT = ("photos", "ct_slices")
"""Domains that have no kit in any turn."""


def domains(shared: Path) -> dict[str, dict[str, list]]:
    """By domain and split, functions that read a picture.

    Args:
        shared: The folder of data that is not part of the repository.
    """
    data = shared / "data"
    found = {
        "elpv": _alone((Path(str(files("elpv_dataset"))) / "data/images").glob("*.png")),
        "luna16": _luna16(data / "luna16_candidates"),
        "magnetic_tile": _table(data / "magnetic_tile", "path", "tile_group"),
        "screw": _alone((data / "mvtec_screw").glob("t*/*/*.png")),
        "cifar100": _cifar100(data / "cifar100"),
        "grocery": _alone((data / "grocery/images").glob("*.jpg")),
        "camvid": _camvid(data / "camvid"),
        "print3d": _table(data / "hires_seg", "image", "group", only=("set", "print3d")),
        "cwfid": _table(data / "hires_seg", "image", "group", only=("set", "cwfid")),
        "bccd": _alone((data / "bccd/images").glob("*.jpg")),
        "deeppcb": _boards(data / "deeppcb"),
        "ceiling": _ceiling(data / "ceiling_actions"),
        "photos": _alone((data / "coco128/images").glob("*.jpg")),
        "ct_slices": _slices(data / "lung_ct_dicom"),
    }
    return {name: _dealt(name, groups) for name, groups in found.items()}


def _dealt(name: str, groups: dict[str, list]) -> dict[str, list]:
    """Whole groups to the split that lacks most of its share; then as many as are wanted."""
    own = random.Random(f"selector {name}")
    order = sorted(groups)
    own.shuffle(order)
    order.sort(key=lambda group: -len(groups[group]) if len(groups) < 50 else 0)
    total, sides = sum(map(len, groups.values())), {split: [] for split in SHARES}
    for group in order:
        lacks = {split: share * total - len(sides[split]) for split, share in SHARES.items()}
        sides[max(lacks, key=lacks.get)] += groups[group]
    for split, side in sides.items():
        own.shuffle(side)
        del side[MOST[split] :]
    return sides


def _reading(path: Path):
    return lambda: read_image(path)


def _alone(paths) -> dict[str, list]:
    return {str(path): [_reading(path)] for path in sorted(paths)}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(folder: Path, column: str, group: str, only=None) -> dict[str, list]:
    found = collections.defaultdict(list)
    for row in _rows(folder / "index.csv"):
        if only is None or row[only[0]] == only[1]:
            found[row[group]].append(_reading(folder / row[column]))
    return found


def _luna16(folder: Path) -> dict[str, list]:
    """Scans are not named; candidates of one scan follow each other, so blocks of 60 are groups."""
    found = collections.defaultdict(list)
    rows = [row for row in _rows(folder / "labels.csv") if row["block_split"] != "drop"]
    for row in sorted(rows, key=lambda row: int(row["candidate_index"])):
        group = f"{row['block_split']} {int(row['candidate_index']) // 2000}"
        if len(found[group]) < 30:
            found[group].append(_reading(folder / row["file"]))
    return found


def _camvid(folder: Path) -> dict[str, list]:
    """A minute of a drive is a group."""
    found = collections.defaultdict(list)
    for row in _rows(folder / "index.csv"):
        group = f"{row['sequence']} {int(row['frame']) // 1800}"
        found[group].append(_reading(folder / "images" / f"{row['id']}.jpg"))
    return found


def _cifar100(folder: Path) -> dict[str, list]:
    def reading(sheet: Path, number: int):
        def read():
            with Image.open(sheet) as image:
                pixels = np.asarray(image.convert("RGB")).reshape(-1, 32, 32, 3)
            return Image.fromarray(pixels[number])

        return read

    sheets = sorted((folder / "val").glob("*.webp"))
    return {f"{one.stem} {number}": [reading(one, number)] for one in sheets for number in range(8)}


def _boards(folder: Path) -> dict[str, list]:
    found = collections.defaultdict(list)
    for split in ("train", "val"):
        content = json.loads((folder / f"instances_{split}.json").read_text(encoding="utf-8"))
        for one in content["images"]:
            name = Path(one["file_name"]).name
            found[name[:5]].append(_reading(folder / "images" / name))
    return found


def _ceiling(folder: Path) -> dict[str, list]:
    def reading(path: Path):
        def read():
            import cv2

            video = cv2.VideoCapture(str(path))
            video.set(cv2.CAP_PROP_POS_FRAMES, 8)
            _, frame = video.read()
            return Image.fromarray(frame[:, :, ::-1].copy())

        return read

    found = collections.defaultdict(list)
    for row in _rows(folder / "index.csv"):
        found[row["recording"]].append(reading(folder / row["file"]))
    return found


def _slices(folder: Path) -> dict[str, list]:
    """CT slices of the chest, from -1000 to 400 HU."""

    def reading(path: Path):
        def read():
            import pydicom

            one = pydicom.dcmread(path)
            units = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
            grey = (np.clip((units + 1000) / 1400, 0, 1) * 255).astype(np.uint8)
            return Image.fromarray(grey).convert("RGB")

        return read

    paths = [one for one in sorted(folder.rglob("*.dcm")) if "rtstruct" not in one.parts]
    return {str(path): [reading(path)] for path in paths}
