"""The corrections that hold now, as files that loaders read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moekit.corrections.kept import Kept
from moekit.corrections.terms import Terms
from moekit.files import atomic_text, write_json
from moekit.json_text import to_json
from moekit.text import safe_cell

FILES = {"class": "labels.csv", "objects": "instances.json", "mask": "index.csv"}
"""The file of each form, which its loader reads."""
_ABOUT = ("at", "by", "confirmed", "correction", "receipt", "source")
_IGNORE = "ignore"


def write_labels(folder: Path, terms: Terms, kept: Sequence[Kept]) -> Path:
    """Writes the labels of a folder, each with who, when and the receipt of the answer.

    Args:
        folder: Of the kit.
        terms: Say which files.
        kept: The corrections that hold now.

    Raises:
        StorageError: A file cannot be written.
    """
    ordered = sorted(kept, key=lambda one: one.image)
    path = folder / FILES[terms.form]
    if terms.form == "objects":
        write_json(path, _coco(ordered, terms))
        return path
    if terms.form == "mask":
        numbered = [*enumerate(terms.classes), (terms.ignored, _IGNORE)]
        _write_rows(folder / "classes.csv", ("number", "name"), numbered)
        columns, cells = ("image", "mask"), [(one.file, one.label["mask"]) for one in ordered]
    else:
        with atomic_text(folder / "classes.txt") as file:
            file.write("\n".join(terms.classes) + "\n")
        columns = ("path", "labels" if terms.several else "label")
        cells = [(one.file, "|".join(one.label["classes"])) for one in ordered]
    grouped = any(one.group for one in ordered)
    names = (*columns, "split", *(("group",) if grouped else ()), *_ABOUT)
    rows = [
        (
            *own,
            one.split,
            *((safe_cell(one.group or one.image),) if grouped else ()),
            *map(safe_cell, _about(one).values()),
        )
        for one, own in zip(ordered, cells, strict=True)
    ]
    _write_rows(path, names, rows)
    return path


def _about(one: Kept) -> dict[str, Any]:
    return {
        "at": one.at,
        "by": one.by,
        "confirmed": to_json(one.confirmed),
        "correction": one.id,
        "receipt": "" if one.receipt is None else to_json(dict(one.receipt), sort_keys=True),
        "source": one.source,
    }


def _write_rows(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with atomic_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def _coco(ordered: Sequence[Kept], terms: Terms) -> dict[str, Any]:
    numbers = {name: number for number, name in enumerate(terms.classes, start=1)}
    grouped = any(one.group for one in ordered)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for place, one in enumerate(ordered, start=1):
        images.append(
            {
                "id": place,
                "file_name": one.file,
                "height": one.size[0],
                "width": one.size[1],
                "split": one.split,
                **({"group": one.group or one.image} if grouped else {}),
                **_about(one),
                "receipt": one.receipt,
            }
        )
        for thing in one.label["objects"]:
            outline = thing.get("segmentation")
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": place,
                    "category_id": numbers[thing["class"]],
                    "bbox": thing["box"],
                    "iscrowd": 0,
                    **({} if outline is None else {"segmentation": outline}),
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": images, "categories": categories, "annotations": annotations}
