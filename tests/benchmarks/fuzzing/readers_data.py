"""Readers of data sets: every loader that brings an example, label tables, answers of peers."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moekit import Registry, Sample
from moekit.contract.answers import TaskContext
from moekit.data.geometry import Frame
from moekit.errors import PluginError
from moekit.tasks.classify.read import read_answers
from moekit.tasks.segment.example import write_example as write_segments
from moekit.tasks.segment.read import read_masks
from tests.benchmarks.fuzzing.reader import Reader, put, text_of

_WITHOUT_FILES = ("ct_demo",)
_OPTIONS = {"folder": "shots=2", "masks": "ignore=9&group=subtype", "npz": "shots=2&unseen=red"}


def _loaders() -> list[str]:
    registry = Registry()
    names = [name.rpartition("/")[2] for name in registry.names("datasets")]
    return [name for name in names if name not in _WITHOUT_FILES]


def _prepare(loader: str, folder: Path) -> Registry:
    registry = Registry()
    data = folder / "data"
    data.mkdir()
    example = registry.dataset(loader).example
    assert example is not None, loader
    made, _, options = str(example(data)).partition("?")
    put(folder, "options.txt", options or _OPTIONS.get(loader, ""))
    put(folder, "place.txt", Path(made).relative_to(folder).as_posix())
    return registry


def _load(loader: str, folder: Path, registry: Registry) -> str:
    options, place = text_of(folder / "options.txt"), text_of(folder / "place.txt")
    target = folder / (place if not Path(place).is_absolute() and ".." not in place else "data")
    try:
        found = registry.load_dataset(f"{loader}={target}{'?' * bool(options)}{options}", seed=0)
    except PluginError as error:
        raise AssertionError(error.what) from error.__cause__
    return "read, with inputs left out" if found.skipped else "read"


def _classes_table(folder: Path) -> None:
    """A label table with every column, a list of classes, and masks."""
    lines = ["path,label,target,group,subtype,split,mask"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = ("train", "train", "val", "test")[number % 4]
        target = number // 4 % 2
        mask = f"{number}.png" if target else ""
        name = ("good", "odd")[target]
        lines.append(f"{number}.png,{name},{target}.0,g{number % 4},s{number % 2},{split},{mask}")
    put(folder, "labels.csv", "\n".join(lines) + "\n")
    put(folder, "classes.txt", "good\nodd\n")


def _several_table(folder: Path) -> None:
    lines = ["path;labels"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png;{('a', 'b', 'a|b', '')[number % 4]}")
    put(folder, "labels.csv", "\n".join(lines) + "\n")


def _index_table(folder: Path) -> None:
    """Masks by a table, with a list of classes that names numbers and colours."""
    dataset = write_segments(folder / "made")
    lines = ["image,mask,split,group,subtype"]
    for number, sample in enumerate(dataset.samples[:8]):
        assert sample.mask is not None
        put(folder, f"images/{number}.png", sample.path.read_bytes())
        put(folder, f"masks/{number}.png", sample.mask.read_bytes())
        split = ("train", "val", "test")[number % 3]
        lines.append(f"images/{number}.png,masks/{number}.png,{split},g{number},s")
    import shutil

    shutil.rmtree(folder / "made")
    put(folder, "index.csv", "\n".join(lines) + "\n")
    listed = ["number,name,red,green,blue", "0,ground,0,0,0", "1,disc,1,1,1", "2,bar,2,2,2"]
    put(folder, "classes.csv", "\n".join([*listed, "255,ignore,,,"]) + "\n")


def _prepare_table(make: Any, folder: Path) -> Registry:
    data = folder / "data"
    data.mkdir()
    make(data)
    put(folder, "options.txt", "")
    put(folder, "place.txt", "data")
    return Registry()


_NAMES = ("a", "b", "c")
_CONTEXT = TaskContext(classes=_NAMES, vocabulary={}, frame=Frame(height=32, width=32))


def _write_answers(folder: Path) -> list[Sample]:
    for name, lines in {
        "probabilities.csv": [f"{n}.png,0.5,0.25,0.25" for n in range(6)],
        "labels.csv": [f"{n}.png,{_NAMES[n % 3]}" for n in range(6)],
    }.items():
        head = "id,c,a,b" if name.startswith("p") else "id,label"
        put(folder, name, "\n".join([head, *lines]) + "\n")
    return [Sample(id=f"{n}.png", path=folder, label=n % 3, group="g") for n in range(6)]


def _read_answers(folder: Path, samples: list[Sample]) -> None:
    for name in ("probabilities.csv", "labels.csv"):
        tally = read_answers(folder / name, samples, _CONTEXT)
        assert np.isfinite(tally.probability_NC).all()


def _write_masks(folder: Path) -> Any:
    dataset = write_segments(folder.parent / "truth")
    samples = [sample for sample in dataset.samples if sample.split == "test"]
    for sample in samples:
        assert sample.mask is not None
        put(folder, f"{Path(sample.id).stem}.png", sample.mask.read_bytes())
    frame = Frame(height=40, width=56)
    return samples, TaskContext(classes=dataset.classes, vocabulary={}, frame=frame)


def _read_masks(folder: Path, known: Any) -> None:
    read_masks(folder, *known)


def _realiad(folder: Path) -> Registry:
    """Real-IAD: one category by a JSON file."""
    from moekit_industrial.loaders.examples import write_image, write_mask

    data = folder / "data"
    entries: dict[str, Any] = {"meta": {"prefix": "mint/", "normal_class": "OK"}}
    for split, count in {"train": 8, "test": 4}.items():
        rows = []
        for number in range(count):
            part = number + (100 if split == "test" else 0)  # one part lies in one split
            name = f"OK/S{part:04}/{split}_{number}.jpg"
            write_image(data / "realiad_256/mint" / name, part)
            rows.append({"category": "mint", "anomaly_class": "OK", "image_path": name})
        if split == "test":
            for number in range(4):
                name = f"NG/AK/S{number:04}/a{number}.jpg"
                mask = name.replace(".jpg", ".png")
                write_image(data / "realiad_256/mint" / name, 50 + number, True)
                write_mask(data / "realiad_256/mint" / mask)
                row = {"category": "mint", "anomaly_class": "AK", "image_path": name}
                rows.append({**row, "mask_path": mask})
        entries[split] = rows
    put(data, "realiad_jsons/realiad_jsons/mint.json", json.dumps(entries))
    put(folder, "options.txt", "format=realiad")
    put(folder, "place.txt", "data")
    return Registry()


def _groups(folder: Path) -> Registry:
    """MVTec AD with a table of groups."""
    from moekit_industrial.loaders.examples import write_mvtec

    data = folder / "data"
    data.mkdir()
    write_mvtec(data)
    images = sorted(path for path in (data / "bolt").rglob("*.png") if "mask" not in path.name)
    with (data / "bolt/index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "tile_group"])
        for number, path in enumerate(images):
            writer.writerow([path.relative_to(data / "bolt").as_posix(), f"g{number // 2}"])
    put(folder, "options.txt", "products=bolt")
    put(folder, "place.txt", "data")
    return Registry()


READERS = (
    *(
        Reader(
            name=f"loader {name}",
            prepare=partial(_prepare, name),
            read=partial(_load, name),
        )
        for name in _loaders()
    ),
    Reader(
        name="label table",
        prepare=partial(_prepare_table, _classes_table),
        read=partial(_load, "folder"),
    ),
    Reader(
        name="label table, several labels",
        prepare=partial(_prepare_table, _several_table),
        read=partial(_load, "folder"),
    ),
    Reader(
        name="table of masks",
        prepare=partial(_prepare_table, _index_table),
        read=partial(_load, "masks"),
    ),
    Reader(name="Real-IAD JSON", prepare=_realiad, read=partial(_load, "anomalib")),
    Reader(name="table of groups", prepare=_groups, read=partial(_load, "mvtec")),
    Reader(name="peer's answers", prepare=_write_answers, read=_read_answers),
    Reader(name="peer's masks", prepare=_write_masks, read=_read_masks),
)
