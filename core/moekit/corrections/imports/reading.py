"""An export of an annotation tool, recognised by its content, as labels for a store."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from moekit.corrections.imports.coco import read_coco
from moekit.corrections.imports.cvat import read_cvat
from moekit.corrections.imports.label_studio import read_label_studio
from moekit.corrections.imports.marked import Leftovers, Marked, Shape
from moekit.corrections.labels import ClassLabel, MaskLabel, ObjectsLabel, as_png
from moekit.corrections.terms import Terms
from moekit.data.images import find_images, relative_id
from moekit.errors import DataError
from moekit.files import read_plain
from moekit.json_text import parse_json
from moekit.tasks.segment.rle import encode

_LARGEST = 2**30
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that is uploaded."""
CVAT, LABEL_STUDIO, COCO = "CVAT for images 1.1", "Label Studio JSON", "COCO"


def read_export(path: Path, leftovers: Leftovers) -> tuple[str, list[Marked]]:
    """What wrote a file, and what it says of its images.

    Args:
        path: XML of CVAT, JSON of Label Studio, or a COCO file.
        leftovers: Counts what is not used.

    Raises:
        DataError: It cannot be read, or is of another format.
    """
    try:
        content = read_plain(path, most=_LARGEST)
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            return CVAT, read_cvat(content, leftovers)
        found = parse_json(content.decode("utf-8-sig"), finite=False)
        if isinstance(found, list):
            return LABEL_STUDIO, read_label_studio(found, leftovers)
        return COCO, read_coco(found, leftovers)
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise DataError(
            f"the export cannot be used: {told}",
            whose=str(path),
            fix="export it again as 'CVAT for images 1.1', as 'JSON' of Label Studio, or as COCO",
            code="data/bad-export",
        ) from error


class Images:
    """The image files below a folder, found by what exports call them.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._by_path: dict[str, Path] = {}
        self._by_name: dict[str, list[Path]] = {}
        for path in find_images(folder):
            self._by_path[relative_id(path, folder)] = path
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str) -> Path | str:
        """The file that a name means, or why there is none.

        Folders before the name count as far as they are there; a name by itself must be unique.
        """
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for first in range(len(parts)):
            found = self._by_path.get("/".join(parts[first:]))
            if found is not None:
                return found
        last = parts[-1] if parts else ""
        for text in dict.fromkeys((last, _UPLOADED.sub("", last))):
            named = self._by_name.get(text, [])
            if len(named) == 1:
                return named[0]
            if named:
                return "images whose name several files have"
        return "images that are not in the folder"


def label_of(
    marked: Marked, size: tuple[int, int], terms: Terms, leftovers: Leftovers, *, unmarked: str
) -> ClassLabel | ObjectsLabel | MaskLabel | None:
    """What an export says of an image, in the form that a kit takes; None if it says nothing of it.

    Args:
        marked: Of the export.
        size: (H, W) of the upright image.
        terms: What the kit takes.
        leftovers: Counts what is of no class of the kit, or of another form.
        unmarked: The class of pixels that nobody marked.
    """
    known: Sequence[Shape] = [one for one in marked.shapes if one.name in terms.classes]
    tags = [one for one in marked.tags if one in terms.classes]
    for one in (*marked.tags, *(shape.name for shape in marked.shapes)):
        if one not in terms.classes:
            leftovers.add(f"labels of {one[:80]!r}, which is no class of the kit", marked.name)
    if terms.form == "class":
        for _ in known:
            leftovers.add("regions, since the kit takes classes of whole images", marked.name)
        if not tags and not (terms.several and not marked.tags):
            leftovers.add("images without a class", marked.name)
            return None
        return ClassLabel(form="class", classes=tags)
    for _ in tags:
        leftovers.add("classes of whole images, since the kit takes regions", marked.name)
    if len(known) < len(marked.shapes) and not known:
        return None
    if terms.form == "mask":
        class_HW = np.full(size, terms.classes.index(unmarked), dtype=terms.mask_dtype)
        for shape in known:
            shape.paint(terms.classes.index(shape.name), class_HW)
        stored = as_png(class_HW)
        return MaskLabel(form="mask", png=base64.b64encode(stored).decode("ascii"))
    objects = [_object(shape, size, terms, marked.name, leftovers) for shape in known]
    kept = [one for one in objects if one is not None]
    return ObjectsLabel.model_validate({"form": "objects", "objects": kept})


def _object(
    shape: Shape, size: tuple[int, int], terms: Terms, name: str, leftovers: Leftovers
) -> Mapping[str, Any] | None:
    made: dict[str, Any] = {"class": shape.name}
    if shape.mask is not None:
        whole = np.zeros(size, dtype=np.uint8)
        shape.paint(1, whole)
        made["segmentation"] = dict(encode(whole))
    elif shape.polygons:
        made["segmentation"] = [list(part) for part in shape.polygons]
    elif terms.outlined:
        leftovers.add("boxes, since the kit takes outlines", name)
        return None
    if shape.box is not None:
        made["box"] = list(shape.box)
    return made
