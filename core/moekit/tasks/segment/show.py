"""Answers as pictures and files: overlays with a legend, masks, and one COCO file for all.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moekit.contract.answers import Answer as AnyAnswer
from moekit.contract.answers import Item, TaskContext
from moekit.data.class_masks import read_values
from moekit.files import write_json
from moekit.tasks.parts.legend import short_name, with_legend
from moekit.tasks.segment.answers import SegmentAnswer
from moekit.tasks.segment.classes import palette
from moekit.tasks.segment.rle import encode

COLUMNS = ("verdict", "foreground", "shares", "regions", "mask", "overlay", "error")
GATHERED = "segmentation.json"
_OPACITY = 0.55
_LONG_SIDE = 640
_MOST_NAMES = 24
_CAPTION = 4
NAMES = {
    "miou": "mIoU",
    "dice": "Dice",
    "pixel_accuracy": "pixel accuracy",
    "boundary_iou": "boundary IoU",
    "min_image_iou": "least IoU of a picture",
    "foreground_iou": "foreground IoU",
}
"""How pages write the metrics."""


def draw(
    picture: Image.Image, answer: AnyAnswer, item: Item | None, context: TaskContext
) -> Image.Image | None:
    """The classes of pixels over the reduced picture, with a legend below.

    Background stays as it is. The legend names the classes of the answer, the largest first, with
    their shares; a class has the same colour in every picture.

    Returns:
        RGB; None for an answer of another task.
    """
    del item, context
    if not isinstance(answer, SegmentAnswer):
        return None
    small = picture.convert("RGB")
    small.thumbnail((_LONG_SIDE, _LONG_SIDE))
    colours = palette(len(answer.classes))
    few = answer.class_HW.dtype == np.uint8
    plane = Image.fromarray(answer.class_HW if few else answer.class_HW.astype(np.int32))
    class_HW = np.asarray(plane.resize(small.size, Image.Resampling.NEAREST))
    opacity = np.full((len(answer.classes), 1), _OPACITY, dtype=np.float32)
    opacity[list(answer.background)] = 0
    pixels = np.asarray(small, dtype=np.float32)
    drawn = pixels * (1 - opacity[class_HW]) + colours[class_HW] * opacity[class_HW]
    made = Image.fromarray(drawn.round().astype(np.uint8))
    return with_legend(made, list(_legend(answer, colours)))


def caption(answer: AnyAnswer, item: Item, context: TaskContext) -> str:
    """The classes of an answer with their shares, the largest first."""
    del item, context
    if not isinstance(answer, SegmentAnswer):
        return answer.verdict
    order = np.argsort(-answer.pixels_C, kind="stable")[:_CAPTION].tolist()
    told = [f"{answer.classes[n]} {_percent(answer, n)}" for n in order if answer.pixels_C[n]]
    return ", ".join(told)


def files(answer: AnyAnswer) -> Mapping[str, tuple[str, bytes]]:
    """`mask`: a PNG of one channel that holds class numbers, of 16 bits beyond 256 classes."""
    if not isinstance(answer, SegmentAnswer):
        return {}
    stored = io.BytesIO()
    Image.fromarray(answer.class_HW).save(stored, format="PNG", compress_level=6)
    return {"mask": (".png", stored.getvalue())}


def gather(out: Path, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Writes all masks as one file in COCO's format, `OUT/segmentation.json`.

    Categories have the class numbers of the masks. Each class of a picture is one annotation with
    compressed run lengths, its pixels (`area`) and its box. Rows without a mask are left out.

    Returns:
        `segmentation`, the file's name, and `annotations`, their number; nothing if no row has a
        mask.

    Raises:
        ImageError: A mask was removed or damaged.
        StorageError: The file cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names: list[str] = []
    for row in rows:
        if not row.get("mask"):
            continue
        shares = row["shares"]
        names = list(json.loads(shares) if isinstance(shares, str) else shares)
        class_HW = read_values(out / str(row["mask"]))
        height, width = class_HW.shape
        number = len(images) + 1
        images.append(
            {"id": number, "file_name": str(row["file"]), "width": width, "height": height}
        )
        for category in np.unique(class_HW).tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    **_annotation(class_HW == category),
                }
            )
    if not images:
        return {}
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    write_json(
        out / GATHERED,
        {"images": images, "categories": categories, "annotations": annotations},
    )
    return {"segmentation": GATHERED, "annotations": len(annotations)}


def _annotation(mask_HW: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "segmentation": encode(mask_HW),
        "area": int(mask_HW.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "iscrowd": 0,
    }


def _legend(
    answer: SegmentAnswer, colours: np.ndarray
) -> Iterator[tuple[str, tuple[int, int, int] | None]]:
    """Names and shares of the classes that the picture holds; background has no colour."""
    order = np.argsort(-answer.pixels_C, kind="stable")
    for number in [int(one) for one in order if answer.pixels_C[one]][:_MOST_NAMES]:
        red, green, blue = colours[number].tolist()
        text = f"{short_name(answer.classes[number])} {_percent(answer, number)}"
        yield text, None if number in answer.background else (red, green, blue)


def _percent(answer: SegmentAnswer, number: int) -> str:
    share = answer.pixels_C[number] / answer.class_HW.size
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"
