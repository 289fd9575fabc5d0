"""Pictures as programs hand them over: files, or pixels in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from moekit.data.images import read_frames
from moekit.errors import UsageError

Picture = Path | Image.Image | np.ndarray | Tensor
"""A file, an RGB picture, uint8 (H, W) or (H, W, 3) as an array, or uint8 (3, H, W) as a tensor."""


def pictures_of(
    pictures: Sequence[Picture], frames: int, bits: int | None
) -> list[Sequence[Image.Image]]:
    """The RGB pictures of each input, of files as many frames and bits as asked for.

    Raises:
        ImageError: A file cannot be read.
        UsageError: A picture is something else.
    """
    return [
        read_frames(one, frames, bits=bits) if isinstance(one, Path) else (_picture(one),)
        for one in pictures
    ]


def _picture(given: object) -> Image.Image:
    if isinstance(given, Image.Image):
        return given
    array = given
    if isinstance(given, Tensor) and given.ndim == 3:
        array = given.permute(1, 2, 0).cpu().numpy()
    if isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.shape[2:] in ((), (3,)):
        return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")
    told = (
        f" of {given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor | np.ndarray) else ""
    )
    raise UsageError(
        f"a picture is given as {type(given).__name__}{told}",
        whose="the pictures",
        fix="give a path, a PIL image, uint8 (H, W) or (H, W, 3) as an array, or uint8 (3, H, W) "
        "as a tensor",
        code="usage/no-picture",
    )
