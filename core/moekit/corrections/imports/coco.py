"""COCO files, as CVAT and Label Studio export them too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from moekit.corrections.imports.marked import Leftovers, Marked, Shape
from moekit.errors import DataError
from moekit.tasks.segment.rle import RunLengths, decode

T = TypeVar("T")
_NO_SPLITS = "splits of images; corrections get theirs by their content"
_MOST_PIXELS = 100_000_000


def read_coco(content: Any, leftovers: Leftovers) -> list[Marked]:
    """The images of a file.

    Args:
        content: Of the JSON file.
        leftovers: Counts damaged annotations.

    Raises:
        ValueError: It is no such file; the text says why.
    """
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(one), list) for one in parts
    ):
        raise ValueError("it lacks a list of images, annotations or categories")
    try:
        kinds = _by_id(content["categories"], lambda one: str(one["name"]).strip())
        images = _by_id(content["images"], lambda one: one)
        names = {number: str(one["file_name"]) for number, one in images.items()}
    except (KeyError, TypeError) as error:
        raise ValueError("an image or a category has no id or no name") from error
    for one in images.values():
        if one.get("split") not in (None, ""):
            leftovers.add(_NO_SPLITS, str(one["file_name"]))
    shapes: dict[Any, list[Shape]] = {number: [] for number in images}
    for one in content["annotations"]:
        number = one.get("image_id") if isinstance(one, dict) else None
        if not isinstance(number, int | str) or number not in images:
            leftovers.add("annotations of no image", str(number)[:40])
            continue
        if one.get("iscrowd") and not isinstance(one.get("segmentation"), dict):
            leftovers.add("crowds are not read", names[number])
            continue
        try:
            shapes[number].append(_shape(one, kinds[one["category_id"]], images[number]))
        except (KeyError, TypeError, ValueError, DataError):
            leftovers.add("damaged annotations", names[number])
    return [
        Marked(name=names[number], size=_size(one), shapes=tuple(shapes[number]))
        for number, one in images.items()
    ]


def _by_id(entries: Iterable[Any], value: Callable[[Any], T]) -> dict[Any, T]:
    found: dict[Any, T] = {}
    for one in entries:
        if one["id"] in found:
            raise ValueError(f"two images or two categories have the id {one['id']!r}")
        found[one["id"]] = value(one)
    return found


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        return None
    return height, width


def _shape(one: Mapping[str, Any], name: str, image: Mapping[str, Any]) -> Shape:
    box = None
    if one.get("bbox"):
        x, y, width, height = map(float, one["bbox"])
        if not np.isfinite([x, y, width, height]).all():
            raise ValueError("no number")
        box = (x, y, width, height)
    outline = one.get("segmentation")
    if isinstance(outline, dict):
        height, width = map(int, outline["size"])
        if [height, width] != [image.get("height"), image.get("width")]:
            raise ValueError("another size")
        if height * width > _MOST_PIXELS:
            raise ValueError("too large")
        mask = decode(RunLengths(size=[height, width], counts=outline["counts"]))
        if not mask.any():
            raise ValueError("no pixel")
        return Shape(name=name, box=box, mask=mask)
    polygons = tuple(tuple(map(float, part)) for part in outline or ())
    if any(len(part) < 6 or len(part) % 2 for part in polygons):
        raise ValueError("no polygon")
    if not polygons and box is None:
        raise ValueError("neither box nor outline")
    return Shape(name=name, box=box, polygons=polygons)
