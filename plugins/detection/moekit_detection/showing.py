"""How found objects are shown, and the files that hold those of all pictures.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit import Show
from moekit.files import atomic_text, write_json
from moekit.tables import CsvWriter
from moekit_detection.judging.tally import DetectTally
from moekit_detection.overlay import caption, draw
from moekit_detection.sections import NAMES, sections

COLUMNS = ("verdict", "found", "counts", "top_score", "objects", "size", "overlay", "error")
DETECTIONS, TABLE = "detections.json", "objects.csv"


def gather(out: Path, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Writes all reported objects as one file in COCO's format and as a table.

    `OUT/detections.json` has images, categories and annotations with a `score`; categories have the
    number of the class plus one. `evaluate --from` reads it. `OUT/objects.csv` has a line for each
    object. Pictures that could not be read are left out of both.

    Returns:
        The names of the files and the number of objects; nothing if no picture was read.

    Raises:
        StorageError: A file cannot be written.
    """
    return write_objects(out, rows, name=DETECTIONS, objects=_objects)


def write_objects(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    name: str,
    objects: Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]]],
    keys: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Mapping[str, Any]:
    """What `gather` does, of objects that may have more than a box.

    Args:
        out: The output folder.
        rows: As of `Show.gather`.
        name: Of the file in COCO's format.
        objects: Gives the objects of a row: class, label, score, box and, if it is not that of
            the box, area.
        keys: Further keys of an object that go into its annotation.
        columns: Further keys that go into the table, empty if an object has none.

    Returns:
        As of `gather`.

    Raises:
        StorageError: A file cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    kinds: dict[int, str] = {}
    table = []
    for row in rows:
        size = _value(row.get("size"))
        if not size:
            continue
        number = len(images) + 1
        height, width = size
        images.append(
            {"id": number, "file_name": str(row["file"]), "width": width, "height": height}
        )
        for one in objects(row):
            kinds[int(one["label"])] = str(one["class"])
            box = one["box"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(one["label"]) + 1,
                    "bbox": box,
                    "area": one.get("area", round(box[2] * box[3], 2)),
                    "iscrowd": 0,
                    "score": one["score"],
                    **{key: one[key] for key in keys},
                }
            )
            further = [one.get(column, "") for column in columns]
            table.append([str(row["file"]), one["class"], one["score"], *box, *further])
    if not images:
        return {}
    categories = [{"id": label + 1, "name": kinds[label]} for label in sorted(kinds)]
    write_json(
        out / name,
        {"images": images, "categories": categories, "annotations": annotations},
    )
    with atomic_text(out / TABLE) as file:
        writer = CsvWriter(file)
        writer.writerow(["file", "class", "score", "x", "y", "width", "height", *columns])
        writer.writerows(table)
    return {Path(name).stem: name, "table": TABLE, "objects": len(annotations)}


def _objects(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from _value(row.get("objects")) or ()


def _value(cell: Any) -> Any:
    """A cell as it was before it was written into a table."""
    return json.loads(cell) if isinstance(cell, str) and cell else cell


SHOW = Show(
    columns=COLUMNS,
    draw=draw,
    right=DetectTally.right,
    sections=sections,
    names=NAMES,
    caption=caption,
    monitor="top_score",
    quiet=("nothing",),
    gather=gather,
)
