"""The frame that a recipe asks for.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

from moekit.contract.recipe import Recipe
from moekit.data.geometry import Frame, Size
from moekit.data.views import check_views
from moekit.errors import UsageError


def frame_of(recipe: Recipe, patch: int, typical: Size | None = None) -> Frame:
    """The input's size, and how pictures are fitted to it.

    The recipe's height and width decide. If it names neither and keeps the aspect ratio, the input
    is a rectangle of the pictures' typical shape whose longer side is `image_size`, both sides
    rounded to multiples of the patch. Otherwise `image_size` stands for what is not given.

    Args:
        recipe: How a kit is trained.
        patch: Side of the backbone's patches, in pixels.
        typical: (H, W) of a typical picture, see `moekit.data.sizes.typical_size`; None if it is
            not known.

    Raises:
        UsageError: A side that the recipe names is not a multiple of the patch, or the recipe asks
            for more views than the frame has.
    """
    given = (recipe.image_height, recipe.image_width)
    if recipe.fit == "letterbox" and given == (None, None) and typical is not None:
        scale = recipe.image_size / max(typical)
        height, width = (_rounded(side * scale, patch) for side in typical)
    else:
        height, width = recipe.image_size, recipe.image_size
        if recipe.image_height is not None:
            height = recipe.image_height
        if recipe.image_width is not None:
            width = recipe.image_width
        check_side(height, patch, "image_size" if recipe.image_height is None else "image_height")
        check_side(width, patch, "image_size" if recipe.image_width is None else "image_width")
    frame = Frame(height=height, width=width, fit=recipe.fit)
    for whose, count, order in (
        ("views", recipe.views, recipe.view_order),
        ("scoring_views", recipe.scoring_views, recipe.scoring_order),
    ):
        check_views(frame, count, order=order, whose=whose)
    return frame


def _rounded(side: float, patch: int) -> int:
    return max(1, round(side / patch)) * patch


def check_side(side: int, patch: int, whose: str) -> None:
    """Refuses a side of an input that is no multiple of the patch.

    Args:
        side: In pixels.
        patch: In pixels.
        whose: What the error names.

    Raises:
        UsageError: It is none.
    """
    if side % patch:
        lower, upper = side // patch * patch, (side // patch + 1) * patch
        near = f"{lower} or {upper}" if lower else f"{upper}"
        raise UsageError(
            f"{side} pixels are no multiple of the backbone's patch of {patch} pixels",
            whose=whose,
            fix=f"choose {near}",
            code="usage/image-size",
        )
