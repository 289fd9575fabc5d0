"""Images, labels and splits: what every domain has in common.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.data.images import (
        IMAGE_SUFFIXES,
        find_images,
        read_frames,
        read_image,
        read_mask,
        relative_id,
    )
    from moekit.data.options import parse_source
    from moekit.data.plain_files import check_file
    from moekit.data.samples import SPLITS
    from moekit.data.splits import check_classes, check_splits, complete_splits
    from moekit.data.stream import Preprocess, image_batches

_HOMES = {
    "data.images": (
        "IMAGE_SUFFIXES",
        "find_images",
        "read_frames",
        "read_image",
        "read_mask",
        "relative_id",
    ),
    "data.options": ("parse_source",),
    "data.plain_files": ("check_file",),
    "data.samples": ("SPLITS",),
    "data.splits": (
        "check_classes",
        "check_splits",
        "complete_splits",
    ),
    "data.stream": (
        "Preprocess",
        "image_batches",
    ),
}

__all__ = [
    "IMAGE_SUFFIXES",
    "SPLITS",
    "Preprocess",
    "check_classes",
    "check_file",
    "check_splits",
    "complete_splits",
    "find_images",
    "image_batches",
    "parse_source",
    "read_frames",
    "read_image",
    "read_mask",
    "relative_id",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
