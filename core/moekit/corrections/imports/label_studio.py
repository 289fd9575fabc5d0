"""Exports of Label Studio as JSON, as labelstud.io/guide/task_format describes them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from moekit.corrections.imports.label_studio_rle import decode_brush
from moekit.corrections.imports.marked import Leftovers, Marked, Shape

_LABELS = {
    "rectanglelabels": "rectanglelabels",
    "polygonlabels": "polygonlabels",
    "brushlabels": "brushlabels",
    "choices": "choices",
}
_LEAST_ALPHA = 128


def read_label_studio(content: Any, leftovers: Leftovers) -> list[Marked]:
    """The images of an export: of each the last annotation that nobody cancelled.

    Args:
        content: Of the JSON file.
        leftovers: Counts what is of another kind, cancelled, superseded or damaged.

    Raises:
        ValueError: It is no such file; the text says why.
    """
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise ValueError("it is no list of tasks")
    if content and not any("annotations" in one or "completions" in one for one in content):
        raise ValueError("its tasks have no 'annotations'; export 'JSON', not 'JSON-MIN' or CSV")
    found = []
    for place, task in enumerate(content):
        name = _name(task, place)
        kept = _annotation(task, name, leftovers)
        if kept is not None:
            found.append(_marked(kept, name, leftovers))
    return found


def _name(task: Mapping[str, Any], place: int) -> str:
    """The file of a task: what `data` holds that looks like one, else what was uploaded."""
    data = task.get("data")
    values = list(data.values()) if isinstance(data, dict) else []
    given = [data["image"]] if isinstance(data, dict) and "image" in data else values
    texts = [one for one in given if isinstance(one, str) and one.strip()]
    text = texts[0] if texts else str(task.get("file_upload") or f"task {task.get('id', place)}")
    parts = urllib.parse.urlsplit(text)
    local = urllib.parse.parse_qs(parts.query).get("d")
    return local[0] if local else urllib.parse.unquote(parts.path or text)


def _annotation(
    task: Mapping[str, Any], name: str, leftovers: Leftovers
) -> Mapping[str, Any] | None:
    given = task.get("annotations", task.get("completions"))
    listed = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    valid = [one for one in listed if not one.get("was_cancelled")]
    for _ in range(len(listed) - len(valid)):
        leftovers.add("annotations that were cancelled", name)
    if not valid:
        leftovers.add("images without an annotation", name)
        return None
    for _ in valid[1:]:
        leftovers.add("annotations that a later one of the same image supersedes", name)
    return max(valid, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))


def _marked(kept: Mapping[str, Any], name: str, leftovers: Leftovers) -> Marked:
    results = kept.get("result")
    tags: list[str] = []
    shapes: list[Shape] = []
    size: tuple[int, int] | None = None
    for one in results if isinstance(results, list) else []:
        result_type = one.get("type") if isinstance(one, dict) else None
        if result_type not in _LABELS:
            leftovers.add(f"results of the type {str(result_type)[:40]} are not read", name)
            continue
        try:
            value = one["value"]
            names = [str(label).strip() for label in value[_LABELS[result_type]]]
            if result_type == "choices":
                tags += names
                continue
            if float(one.get("image_rotation") or 0) % 360:
                leftovers.add("regions on an image that was turned in the tool", name)
                continue
            given = (int(one["original_height"]), int(one["original_width"]))
            if min(given) < 1 or (size is not None and given != size):
                raise ValueError("another size")
            size = given
            shapes += [_shape(result_type, value, label, size) for label in names[:1] if label]
            if len(names) != 1:
                leftovers.add("regions with no label, or further ones", name)
        except (KeyError, TypeError, ValueError, OverflowError):
            leftovers.add(f"damaged results of the type {result_type}", name)
    by = kept.get("completed_by")
    who = by.get("email") or by.get("id") if isinstance(by, dict) else by
    return Marked(
        name=name,
        size=size,
        tags=tuple(tags),
        shapes=tuple(shapes),
        by="" if who in (None, "") else str(who),
    )


def _shape(result_type: str, value: Mapping[str, Any], label: str, size: tuple[int, int]) -> Shape:
    """A region; its places are percents of the sides of the image."""
    side = np.array([size[1], size[0]]) / 100
    if result_type == "brushlabels":
        if value.get("format", "rle") != "rle":
            raise ValueError("another format")
        mask = decode_brush(value["rle"], size)[..., 3] >= _LEAST_ALPHA
        if not mask.any():
            raise ValueError("no pixel")
        return Shape(name=label, mask=mask)
    if result_type == "polygonlabels":
        points = np.asarray(value["points"], dtype=np.float64) * side
        if points.ndim != 2 or len(points) < 3 or not np.isfinite(points).all():
            raise ValueError("no polygon")
        return Shape(name=label, polygons=(tuple(points.reshape(-1).tolist()),))
    x, y, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
    left, top = np.array([x, y]) * side
    sides = np.array([width, height]) * side
    if not np.isfinite([left, top, *sides]).all() or (sides <= 0).any():
        raise ValueError("no area")
    angle = float(value.get("rotation") or 0)
    if not angle:
        return Shape(name=label, box=(float(left), float(top), float(sides[0]), float(sides[1])))
    # It turns clockwise about its upper left corner.
    turn = np.deg2rad(angle)
    corners = np.array([[0, 0], [sides[0], 0], sides, [0, sides[1]]])
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = corners @ matrix + (left, top)
    return Shape(name=label, polygons=(tuple(points.reshape(-1).tolist()),))
