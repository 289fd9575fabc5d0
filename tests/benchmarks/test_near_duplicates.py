"""Near-duplicates: how many are found of those that were planted, and how many others are named.

Seven real sets are dealt in two without regard to groups. Copies of images of the first side are
changed in seven ways and join the second. Found is a copy that is paired with its source. A false
alarm is an image of the second side that is paired with another one, unless both are known to show
the same: exposures of one magnetic tile, frames of one drive. Those are counted for themselves.
"""

import collections
import csv
import random
import time
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy.stats import binomtest

from moekit import Sample, build_backbone
from moekit.data.geometry import Frame
from moekit.data.images import read_image
from moekit.data.near.coded import Coded
from moekit.data.near.codes import Coder
from moekit.data.near.find import find_across
from moekit.data.near.neighbours import candidates
from moekit.data.tensors import image_tensor
from moekit.runtime.cells import cells_of
from tests.benchmarks.task_runs import TINY
from tests.conftest import SHARED

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_near_duplicates.py"
DATA = SHARED / "data"
ELPV = Path(str(files("elpv_dataset"))) / "data"
BLOCKS, SIDE, BATCH = 7, 224, 4
SETS = {
    "photos_1k": (180, 12),
    "mvtec_screw": (360, 12),
    "magnetic_tile": (100, 8),
    "camvid": (100, 8),
    "grocery": (100, 8),
    "luna16_candidates": (100, 8),
    "elpv": (100, 8),
}
"""Images of both sides, and sources of copies; screws, which look alike, have most."""
FRAME_GAPS = (12, 30, 60)


def crop(image, share, generator):
    width, height = (round(side * share) for side in image.size)
    left = generator.randint(0, image.width - width)
    top = generator.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def light(image, generator):
    brighter = ImageEnhance.Brightness(image).enhance(generator.choice((0.6, 0.75, 1.3)))
    return ImageEnhance.Contrast(brighter).enhance(generator.choice((0.8, 1.2)))


CHANGES = {
    "cut to 85% of the sides": (lambda image, own: crop(image, 0.85, own), "png", {}),
    "cut to 65% of the sides": (lambda image, own: crop(image, 0.65, own), "png", {}),
    "mirrored": (lambda image, _: ImageOps.mirror(image), "png", {}),
    "turned by 90 degrees": (
        lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
        "png",
        {},
    ),
    "half the size, JPEG 30": (
        lambda image, _: image.resize((image.width // 2, image.height // 2)),
        "jpg",
        {"quality": 30},
    ),
    "other brightness and contrast": (light, "png", {}),
    "cut to 85%, mirrored, other light, JPEG 50": (
        lambda image, own: light(ImageOps.mirror(crop(image, 0.85, own)), own),
        "jpg",
        {"quality": 50},
    ),
}


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def images_of(name, count):
    """Two sides of a set: paths, each with what tells which others show the same."""
    folder, own = ELPV if name == "elpv" else DATA / name, random.Random(0)
    if name == "magnetic_tile":
        groups = collections.defaultdict(list)
        for row in rows_of(folder / "index.csv"):
            groups[row["tile_group"]].append((folder / row["path"], row["tile_group"]))
        chosen = own.sample(sorted(one for one in groups if len(groups[one]) > 1), count // 2)
        pairs = [own.sample(groups[one], 2) for one in chosen]
        return [one for one, _ in pairs], [other for _, other in pairs]
    if name == "camvid":
        rows = rows_of(folder / "index.csv")
        rows.sort(key=lambda row: (row["sequence"], int(row["frame"])))
        frames = [
            (folder / "images" / f"{row['id']}.jpg", (row["sequence"], int(row["frame"])))
            for row in rows
        ][:count]
        return frames[::2], frames[1::2]
    patterns = {"mvtec_screw": "t*/*/*.png", "photos_1k": "*.jpg", "elpv": "images/*.png"}
    pattern = patterns.get(name, "images/*.jpg")
    chosen = own.sample(sorted(folder.glob(pattern)), count)
    sides = [(path, str(path)) for path in chosen]
    return sides[: len(sides) // 2], sides[len(sides) // 2 :]


def planted(sources, folder):
    for number, (path, _) in enumerate(sources):
        for change, (make, suffix, options) in CHANGES.items():
            own = random.Random(zlib.crc32(f"{path.name} {change}".encode()))
            copy = folder / f"{number}-{list(CHANGES).index(change)}.{suffix}"
            make(read_image(path), own).save(copy, **options)
            yield copy, (str(path), change)


@torch.inference_mode()
def cells(backbone, paths):
    frame, found = Frame(height=SIDE, width=SIDE), []
    for start in range(0, len(paths), BATCH):
        images = [
            image_tensor(read_image(path), frame=frame, mean=backbone.mean, std=backbone.std)
            for path in paths[start : start + BATCH]
        ]
        x_BND, grid = backbone.embed(torch.stack(images))
        x_BND, _ = backbone.run_blocks(x_BND, grid, stop=BLOCKS)
        found.append(cells_of(x_BND, grid))
    return np.concatenate(found)


def share(hits, of):
    interval = binomtest(hits, of).proportion_ci(method="wilson") if of else (0.0, 1.0)
    return {"hits": hits, "of": of, "ci95": [round(float(one), 4) for one in interval]}


def same(one, other):
    """How far apart two items are that show the same; None if they do not."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        (sequence, frame), (other_sequence, other_frame) = one, other
        return abs(frame - other_frame) if sequence == other_sequence else None
    return 0 if one == other else None


@pytest.mark.parametrize("name", SETS)
def test_of_a_real_set_most_changed_copies_are_found_and_few_others(
    name, tmp_path, record, record_figure
):
    if name != "elpv" and not (DATA / name).exists():
        pytest.skip(f"needs {DATA / name}")
    backbone = build_backbone()
    images, sources = (12, 2) if TINY else SETS[name]
    first, second = images_of(name, images)
    step = max(1, len(first) // sources)
    copies = list(planted(first[::step][:sources], tmp_path))
    known = {str(path): what for path, what in (*first, *second)}
    began = time.perf_counter()
    first_cells = cells(backbone, [path for path, _ in first])
    second_cells = cells(backbone, [path for path, _ in (*second, *copies)])
    features = time.perf_counter() - began
    coder = Coder.fit(first_cells)
    sides = [
        Coded(
            samples=[Sample(id=str(path), path=path, label=0, split=split) for path in paths],
            codes_NVW=coder.codes(found)[:, None],
        )
        for split, paths, found in (
            ("train", [path for path, _ in first], first_cells),
            ("test", [path for path, _ in (*second, *copies)], second_cells),
        )
    ]
    found = find_across(*sides)
    sources = {str(path): what for path, what in copies}
    hits, false, related = collections.Counter(), set(), set()
    for pair in found.pairs:
        one, other = pair.first.id, pair.second.id
        if other in sources:
            hits[sources[other][1]] += sources[other][0] == one
        else:
            apart = same(known[one], known[other])
            related.add((one, other)) if apart is not None else false.add(other)
    of_kind = collections.Counter(change for _, (_, change) in copies)
    result = {
        "images": [len(first), len(second)],
        "blocks": BLOCKS,
        "image_size": SIDE,
        "least_likeness": round(found.least, 3),
        "usual_likeness": None if found.usual is None else round(found.usual, 3),
        "candidates": found.candidates,
        "verified": found.verified,
        "seconds": {"features": round(features, 1), "search": round(found.seconds, 1)},
        "recall": {
            "all": share(sum(hits.values()), len(copies)),
            **{change: share(hits[change], of_kind[change]) for change in CHANGES},
        },
        "images_with_a_false_alarm": share(len(false), len(second)),
        "false_pairs": sorted(
            [Path(pair.first.id).name, Path(pair.second.id).name, round(pair.likeness, 3)]
            for pair in found.pairs
            if pair.second.id in false
        ),
        **of_relatives(name, first, second, related),
    }
    record(f"near_duplicates_{name}", result)
    key = f"near_duplicates.{name}"
    for figure, entry in (
        ("recall", result["recall"]["all"]),
        ("false_alarms", result["images_with_a_false_alarm"]),
    ):
        value = round(entry["hits"] / entry["of"], 4)
        record_figure(f"{key}.{figure}", value, command=COMMAND, ci95=entry["ci95"])
    if not TINY:
        assert name == "elpv" or result["recall"]["all"]["ci95"][0] > 0.6
        assert result["images_with_a_false_alarm"]["ci95"][0] < 0.05


def of_relatives(name, first, second, related):
    """How many of the items are found that are known to show the same."""
    if name == "magnetic_tile":
        return {"other_exposures": share(len(related), len(first))}
    if name != "camvid":
        return {}
    gaps = {gap: [] for gap in FRAME_GAPS}
    for path, one in first:
        for other_path, other in second:
            apart = same(one, other)
            if apart in gaps:
                gaps[apart].append((str(path), str(other_path)) in related)
    return {f"frames_{gap}_apart": share(sum(hits), len(hits)) for gap, hits in gaps.items()}


def test_the_nearest_of_ten_thousand_codes_are_found_in_seconds(record_figure):
    generator = np.random.default_rng(0)
    asking = generator.standard_normal((7500, 9, 512)).astype(np.float16)
    asked = generator.standard_normal((2500, 512)).astype(np.float16)
    began = time.process_time()
    candidates(asking, asked, kin_N=np.arange(7500), kin_K=np.arange(7500, 10_000))
    seconds = time.process_time() - began
    record_figure(
        "near_duplicates.nearest_of_10000.cpu_seconds", round(seconds, 2), command=COMMAND
    )
    assert seconds < 60
