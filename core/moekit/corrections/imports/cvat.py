"""Exports "CVAT for images 1.1": XML, as docs.cvat.ai/docs/other/xml_format describes it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np

from moekit.corrections.imports.marked import Leftovers, Marked, Shape
from moekit.files import parse_xml

_OTHERS = ("polyline", "points", "ellipse", "cuboid", "skeleton")
_MOST_PIXELS = 100_000_000


def read_cvat(content: bytes, leftovers: Leftovers) -> list[Marked]:
    """The images of an export.

    Args:
        content: Of the XML file.
        leftovers: Counts shapes of other kinds, and damaged ones.

    Raises:
        ValueError: It is no such file; the text says why.
    """
    try:
        tree = parse_xml(content)
    except ValueError as error:
        raise ValueError(f"it is no XML ({error})") from error
    if tree.tag != "annotations":
        raise ValueError(f"its root is {tree.tag[:40]!r}, not 'annotations'")
    tracks = tree.findall("track")
    for track in tracks:
        leftovers.add("tracks of videos are not read", str(track.get("label")))
    images = tree.findall("image")
    if not images:
        raise ValueError("it holds no image; export 'CVAT for images 1.1'")
    assignee = tree.findtext("meta/task/assignee/username") or ""
    return [_image(one, leftovers, assignee.strip()) for one in images]


def _image(entry: ElementTree.Element, leftovers: Leftovers, by: str) -> Marked:
    name = entry.get("name") or ""
    size = None
    try:
        size = (int(entry.attrib["height"]), int(entry.attrib["width"]))
    except (KeyError, ValueError):
        leftovers.add("images whose size is not given are taken as they are", name)
    tags: list[str] = []
    shapes: list[tuple[int, Shape]] = []
    for one in entry:
        label = (one.get("label") or "").strip()
        if one.tag == "tag" and label:
            tags.append(label)
            continue
        if one.tag in _OTHERS:
            leftovers.add(f"shapes of the kind {one.tag} are not read", name)
            continue
        if one.tag not in ("box", "polygon", "mask"):
            continue
        try:
            depth = int(one.get("z_order") or 0)
            shapes.append((depth, _shape(one, label)))
        except (KeyError, ValueError):
            leftovers.add(f"damaged shapes of the kind {one.tag}", name)
    shapes.sort(key=lambda pair: pair[0])
    return Marked(
        name=name, size=size, tags=tuple(tags), shapes=tuple(one for _, one in shapes), by=by
    )


def _shape(one: ElementTree.Element, label: str) -> Shape:
    if not label:
        raise ValueError("no label")
    if one.tag == "box":
        left, top, right, bottom = (float(one.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        angle = float(one.get("rotation") or 0)
        if (
            not np.isfinite([left, top, right, bottom, angle]).all()
            or right <= left
            or bottom <= top
        ):
            raise ValueError("no area")
        if angle:
            return Shape(name=label, polygons=(_turned(left, top, right, bottom, angle),))
        return Shape(name=label, box=(left, top, right - left, bottom - top))
    if one.tag == "polygon":
        pairs = [part.split(",") for part in one.attrib["points"].split(";")]
        points = tuple(float(value) for pair in pairs for value in pair)
        if any(len(pair) != 2 for pair in pairs) or len(pairs) < 3 or not np.isfinite(points).all():
            raise ValueError("no polygon")
        return Shape(name=label, polygons=(points,))
    left_, top_, width, height = (
        int(float(one.attrib[key])) for key in ("left", "top", "width", "height")
    )
    counts = [int(part) for part in one.attrib["rle"].split(",")]
    # Row by row, zeros first, inside of the box; see the tracker of CVAT, issue 5828.
    if min(width, height, left_ + 1, top_ + 1) < 1 or width * height > _MOST_PIXELS:
        raise ValueError("no area")
    if min(counts) < 0 or sum(counts) != width * height:
        raise ValueError("the runs do not fill the box")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return Shape(name=label, mask=flat.reshape(height, width), corner=(top_, left_))


def _turned(
    left: float, top: float, right: float, bottom: float, angle: float
) -> tuple[float, ...]:
    """The corners of a box that is turned clockwise about its centre, by degrees."""
    turn = np.deg2rad(angle)
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - centre
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return tuple((corners @ matrix + centre).reshape(-1).tolist())
