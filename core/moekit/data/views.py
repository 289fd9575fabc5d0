"""The eight views of an image that only flip and turn it: the dihedral group of order 8.

A rectangle has the four of them that keep its shape.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from moekit.data.geometry import Frame
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


ViewOrder = Literal["dihedral", "mirror"]
_MIRROR = (0, 2)


def view_numbers(count: int, order: ViewOrder) -> tuple[int, ...]:
    """The numbers of the first `count` views in an order.

    Args:
        count: 1 to 8; of the order `mirror` 1 or 2.
        order: `dihedral` is the order of the numbers; `mirror` is the picture and its left-right
            mirror.

    Raises:
        UsageError: The order has fewer views.
    """
    numbers = tuple(range(VIEWS)) if order == "dihedral" else _MIRROR
    if count > len(numbers):
        raise UsageError(
            f"{count} views are asked for, but the order {order} has {len(numbers)}",
            whose="views",
            fix=f"choose at most {len(numbers)} views, or the order dihedral",
            code="usage/too-many-views",
        )
    return numbers[:count]


def views_of(frame: Frame) -> int:
    """The greatest number of views that images of a frame have: 8 of squares, else 4."""
    return VIEWS if frame.height == frame.width else RECTANGLE_VIEWS


def check_views(frame: Frame, views: int, *, whose: str) -> None:
    """Checks that images of a frame have that many views.

    Args:
        frame: The input.
        views: The number that is asked for.
        whose: The option that asks for it, for the error.

    Raises:
        UsageError: They have fewer.
    """
    if views > views_of(frame):
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
        number: 0 (unchanged) to 7; of rectangles 0 to 3.

    Returns:
        The view, contiguous, of the same shape.

    Raises:
        UsageError: The images do not have this view.
    """
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
        UsageError: Maps of this shape do not have this view.
    """
    turns, mirrored = _of(maps, number)
    upright = maps.flip(-1) if mirrored else maps
    return torch.rot90(upright, -turns % 4, dims=(-2, -1)).contiguous()


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
