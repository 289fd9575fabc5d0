"""Views of an image: flips and turns (the dihedral group of order 8), and crops.

A rectangle has the four flips and turns that keep its shape.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from moekit.data.geometry import Frame, Size
from moekit.errors import UsageError

VIEWS = 8
RECTANGLE_VIEWS = 4
# Flips and half turns come first: they keep the direction of lines, as a quarter turn does not.
_ORDER = (
    (0, False),
    (2, False),
    (0, True),
    (2, True),
    (1, False),
    (3, False),
    (1, True),
    (3, True),
)


ViewOrder = Literal["dihedral", "mirror", "crop"]
_MIRROR = (0, 2)
# Upper left corner as a share of the room there is, side as a share of the image's, mirrored.
_CROPS = {
    8: (0.0, 0.0, 0.7, False),
    9: (0.0, 1.0, 0.7, True),
    10: (1.0, 0.0, 0.7, True),
    11: (1.0, 1.0, 0.7, False),
    12: (0.5, 0.5, 0.7, False),
    13: (0.5, 0.5, 0.85, True),
}
_ORDERS: dict[ViewOrder, tuple[int, ...]] = {
    "dihedral": tuple(range(VIEWS)),
    "mirror": _MIRROR,
    "crop": (*_MIRROR, *_CROPS),
}


def view_numbers(count: int, order: ViewOrder) -> tuple[int, ...]:
    """The numbers of the first `count` views in an order.

    Args:
        count: 1 to 8; of the order `mirror` 1 or 2.
        order: `dihedral` is the order of the numbers; `mirror` is the picture and its left-right
            mirror; `crop` has these two, then six crops (numbers 8 to 13).

    Raises:
        UsageError: The order has fewer views.
    """
    numbers = _ORDERS[order]
    if count > len(numbers):
        raise UsageError(
            f"{count} views are asked for, but the order {order} has {len(numbers)}",
            whose="views",
            fix=f"choose at most {len(numbers)} views, or the order dihedral or crop",
            code="usage/too-many-views",
        )
    return numbers[:count]


def views_of(frame: Frame) -> int:
    """The greatest number of views that images of a frame have: 8 of squares, else 4."""
    return VIEWS if frame.height == frame.width else RECTANGLE_VIEWS


def check_views(frame: Frame, views: int, *, order: ViewOrder = "dihedral", whose: str) -> None:
    """Checks that images of a frame have that many views.

    Args:
        frame: The input.
        views: The number that is asked for.
        order: Which views; only those of `dihedral` need a square beyond four.
        whose: The option that asks for it, for the error.

    Raises:
        UsageError: They have fewer, or the order has.
    """
    if any(views_of(frame) <= number < VIEWS for number in view_numbers(views, order)):
        raise UsageError(
            f"{views} views are asked for, but inputs of {frame.height} x {frame.width} pixels "
            f"have {views_of(frame)}",
            whose=whose,
            fix=f"choose at most {views_of(frame)} views, or a square input",
            code="usage/too-many-views",
        )


def view(images: Tensor, number: int) -> Tensor:
    """One view of images.

    Args:
        images: (..., H, W).
        number: 0 (unchanged) to 7, of rectangles 0 to 3; or a crop, 8 to 13, which is enlarged
            to the images' size: floats by bilinear interpolation, integers (class numbers) by the
            nearest pixel.

    Returns:
        The view, contiguous, of the same shape.

    Raises:
        UsageError: The images do not have this view.
    """
    if number in _CROPS:
        return _crop(images, number)
    turns, mirrored = _of(images, number)
    turned = torch.rot90(images, turns, dims=(-2, -1))
    return (turned.flip(-1) if mirrored else turned).contiguous()


def unview(maps: Tensor, number: int) -> Tensor:
    """Turns maps of a view back, so that they lie on the images as they are.

    Args:
        maps: (..., h, w), such as the evidence of each patch in `view(images, number)`.
        number: As of `view`.

    Returns:
        The maps of the unchanged images, contiguous, of the same shape: `unview(view(x, n), n)`
        is `x`.

    Raises:
        UsageError: Maps of this shape do not have this view, or it is a crop.
    """
    turns, mirrored = _of(maps, number)
    upright = maps.flip(-1) if mirrored else maps
    return torch.rot90(upright, -turns % 4, dims=(-2, -1)).contiguous()


def view_boxes(box_G4: Tensor, number: int, size: Size) -> Tensor:
    """Boxes as they lie in a view of their picture; of a crop they may reach beyond it.

    Args:
        box_G4: (..., 4) centre across, centre down, width and height as shares of the input's
            sides.
        number: As of `view`.
        size: (H, W) of the input; it says to which whole pixels a crop was rounded.
    """
    if number in _CROPS:
        down, across, rows, columns, mirrored = _crop_of(size, number)
        scale = box_G4.new_tensor([size[1] / columns, size[0] / rows] * 2)
        start = box_G4.new_tensor([across / size[1], down / size[0], 0, 0])
        box_G4 = (box_G4 - start) * scale
        return _mirrored(box_G4) if mirrored else box_G4
    turns, mirrored = _ORDER[number]
    for _ in range(turns):
        x, y, width, height = box_G4.unbind(-1)
        box_G4 = torch.stack([y, 1 - x, height, width], dim=-1)
    return _mirrored(box_G4) if mirrored else box_G4


def unview_boxes(box_G4: Tensor, number: int) -> Tensor:
    """Turns boxes of a view back, so that they lie on the image as it is.

    Args:
        box_G4: As of `view_boxes`.
        number: 0 to 7.
    """
    turns, mirrored = _ORDER[number]
    if mirrored:
        box_G4 = _mirrored(box_G4)
    for _ in range(turns):
        x, y, width, height = box_G4.unbind(-1)
        box_G4 = torch.stack([1 - y, x, height, width], dim=-1)
    return box_G4


def _mirrored(box_G4: Tensor) -> Tensor:
    x, y, width, height = box_G4.unbind(-1)
    return torch.stack([1 - x, y, width, height], dim=-1)


def _crop_of(size: Size, number: int) -> tuple[int, int, int, int, bool]:
    """The first row and column of a crop, its rows and columns, and whether it is mirrored."""
    top, left, share, mirrored = _CROPS[number]
    rows, columns = (round(side * share) for side in size)
    return round((size[0] - rows) * top), round((size[1] - columns) * left), rows, columns, mirrored


def _crop(images: Tensor, number: int) -> Tensor:
    height, width = images.shape[-2:]
    down, across, rows, columns, mirrored = _crop_of((height, width), number)
    part = images[..., down : down + rows, across : across + columns]
    planes = part.reshape(1, -1, rows, columns)
    if planes.is_floating_point():
        large = nn.functional.interpolate(planes, (height, width), mode="bilinear")
    else:
        large = nn.functional.interpolate(planes.double(), (height, width), mode="nearest-exact")
    whole = large.to(images.dtype).reshape(images.shape)
    return (whole.flip(-1) if mirrored else whole).contiguous()


def _of(images: Tensor, number: int) -> tuple[int, bool]:
    """The quarter turns of a view, and whether it is mirrored after them."""
    height, width = images.shape[-2:]
    most = VIEWS if height == width else RECTANGLE_VIEWS
    if not 0 <= number < most:
        raise UsageError(
            f"there is no view {number} of images of {height} x {width} pixels",
            whose="the number of a view",
            fix=f"choose 0 to {most - 1}" + (", or square images" if most < VIEWS else ""),
            code="usage/out-of-range",
        )
    return _ORDER[number]
