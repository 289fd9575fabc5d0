"""What a correction says of an image: its classes, the objects in it, or the class of each pixel.

Shapes: H and W rows and columns of the upright image.
"""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from moekit.corrections.runs import box_around, runs_of, text_of
from moekit.corrections.terms import Terms
from moekit.data.class_masks import look_up, values_of
from moekit.data.mask_table import IGNORED
from moekit.errors import DataError

_MOST_CLASSES = 10_000
_MOST_OBJECTS = 1000
_MOST_POINTS = 100_000
_MOST_TEXT = 2**26
_MOST_RUNS = 2**20
_LEAST_POINTS = 3
_SLACK = 1.0
"""Pixels by which a box or an outline may leave the image; it is cut there."""
_NAME = Path("mask.png")
Name = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


class _Strict(BaseModel):
    """Takes no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Runs(_Strict):
    """A mask as COCO writes it: run lengths column by column, zeros first."""

    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    counts: (
        Annotated[str, Field(max_length=_MOST_RUNS)]
        | Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=_MOST_RUNS)]
    )


class LabelledObject(_Strict):
    """An object: its class, and its box or outline in pixels of the upright image."""

    name: Name = Field(alias="class")
    box: Annotated[list[Number], Field(min_length=4, max_length=4)] | None = Field(
        default=None, description="Left, top, width and height; from the outline if not given."
    )
    segmentation: (
        Runs
        | Annotated[
            list[Annotated[list[Number], Field(max_length=_MOST_POINTS)]],
            Field(min_length=1, max_length=_MOST_OBJECTS),
        ]
        | None
    ) = Field(default=None, description="Run lengths, or polygons of x, y, x, y and so on.")


class ClassLabel(_Strict):
    """The class of an image, or its classes if the kit answers several."""

    form: Literal["class"]
    classes: list[Name] = Field(max_length=_MOST_CLASSES)


class ObjectsLabel(_Strict):
    """All objects of an image; an empty list says that there is none."""

    form: Literal["objects"]
    objects: list[LabelledObject] = Field(max_length=_MOST_OBJECTS)


class MaskLabel(_Strict):
    """The class of each pixel."""

    form: Literal["mask"]
    png: str = Field(
        max_length=_MOST_TEXT,
        description="Base64 of a PNG of the image's size. Its values are the numbers of the "
        "classes; 255 (65535 of 16 bits) counts for nothing.",
    )


Label = Annotated[ClassLabel | ObjectsLabel | MaskLabel, Field(discriminator="form")]


def checked(
    label: ClassLabel | ObjectsLabel | MaskLabel, size: tuple[int, int], terms: Terms
) -> Any:
    """A label as it is kept, in one form: equal labels become equal.

    Args:
        label: As it came.
        size: (H, W) of the upright image.
        terms: What the kit knows.

    Returns:
        JSON-ready. Of a mask (H, W) uint8 or uint16 class numbers.

    Raises:
        DataError: The label is of another form, names an unknown class, or does not fit the image.
    """
    if label.form != terms.form:
        raise _wrong(f"it is of the form {label.form}; the kit takes {terms.form}")
    if isinstance(label, ClassLabel):
        return {"form": "class", "classes": _classes(label.classes, terms)}
    if isinstance(label, MaskLabel):
        return _mask(label.png, size, terms)
    kept = [_object(one, size, terms, place) for place, one in enumerate(label.objects)]
    return {"form": "objects", "objects": kept}


def as_png(class_HW: np.ndarray) -> bytes:
    """The file of a mask."""
    stored = io.BytesIO()
    Image.fromarray(class_HW).save(stored, format="PNG", compress_level=6)
    return stored.getvalue()


def _classes(names: list[str], terms: Terms) -> list[str]:
    for name in names:
        _known(name, terms, "")
    unique = [name for name in terms.classes if name in set(names)]
    if len(unique) != 1 and not terms.several:
        raise _wrong(f"it names {len(unique)} classes; the kit takes one")
    return unique


def _object(one: LabelledObject, size: tuple[int, int], terms: Terms, place: int) -> dict[str, Any]:
    where = f"object {place}: "
    _known(one.name, terms, where)
    outline = _outline(one.segmentation, size, where)
    if outline is None and terms.outlined:
        raise _wrong(f"{where}it has no outline, which the kit needs")
    box = one.box
    if box is None and isinstance(outline, dict):
        box = box_around(runs_of(outline["counts"], size), size)
    elif box is None and outline is not None:
        points = np.concatenate([np.asarray(part).reshape(-1, 2) for part in outline])
        low, high = points.min(0), points.max(0)
        box = [*low.tolist(), *(high - low).tolist()]
    if box is None:
        raise _wrong(f"{where}it has neither a box nor an outline")
    kept: dict[str, Any] = {"class": one.name, "box": _cut(box, size, where)}
    if outline is not None:
        kept["segmentation"] = outline
    return kept


def _cut(box: list[float], size: tuple[int, int], where: str) -> list[float]:
    """A box, cut at the sides of the image."""
    left, top, width, height = box
    low, high = np.array([left, top]), np.array([left + width, top + height])
    side = np.array([size[1], size[0]], dtype=np.float64)
    if (low < -_SLACK).any() or (high > side + _SLACK).any():
        raise _wrong(f"{where}its box leaves the image of {size[1]} x {size[0]} pixels")
    low, high = low.clip(0, side), high.clip(0, side)
    if (high <= low).any():
        raise _wrong(f"{where}its box has no area")
    return [round(value, 3) for value in [*low.tolist(), *(high - low).tolist()]]


def _outline(given: Any, size: tuple[int, int], where: str) -> Any:
    if given is None:
        return None
    if isinstance(given, Runs):
        if list(given.size) != list(size):
            raise _wrong(f"{where}its run lengths are of another size than the image")
        runs = runs_of(given.counts, size)
        if not len(runs):
            raise _wrong(f"{where}its outline holds no pixel")
        return {"size": list(size), "counts": text_of(runs, size)}
    side = np.array([size[1], size[0]], dtype=np.float64)
    parts = []
    for part in given:
        points = np.asarray(part, dtype=np.float64)
        if len(points) % 2 or len(points) < 2 * _LEAST_POINTS:
            raise _wrong(f"{where}a polygon has fewer than {_LEAST_POINTS} corners, or half a one")
        corners = points.reshape(-1, 2)
        if (corners < -_SLACK).any() or (corners > side + _SLACK).any():
            raise _wrong(f"{where}its outline leaves the image of {size[1]} x {size[0]} pixels")
        parts.append([round(value, 3) for value in corners.clip(0, side).reshape(-1).tolist()])
    return parts


def _mask(text: str, size: tuple[int, int], terms: Terms) -> np.ndarray:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong("the mask is no base64") from error
    raw = values_of(content, _NAME, max_pixels=size[0] * size[1])
    if raw.shape[:2] != size:
        raise _wrong(
            f"the mask has {raw.shape[1]} x {raw.shape[0]} pixels, the image {size[1]} x {size[0]}"
        )
    class_HW = look_up(raw, terms.mask_table, _NAME)
    kept: np.ndarray = np.where(class_HW == IGNORED, terms.ignored, class_HW).astype(
        terms.mask_dtype
    )
    return kept


def _known(name: str, terms: Terms, where: str) -> None:
    if name not in terms.classes:
        named = ", ".join(terms.classes[:20])
        raise _wrong(f"{where}there is no class {name[:80]!r}; there are {named}")


def _wrong(what: str) -> DataError:
    return DataError(
        f"the correction cannot be used: {what}",
        whose="the label",
        fix="send a label as /openapi.json describes it, in the kit's classes and the image's "
        "pixels",
        code="data/bad-correction",
    )
