"""Images, labels and splits: what every domain has in common.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.data.arrays import ArrayHeader, Arrays
    from moekit.data.geometry import Box
    from moekit.data.images import (
        find_images,
        read_frames,
        read_image,
        read_mask,
        read_size,
        relative_id,
    )
    from moekit.data.jpeg_scans import jpeg_with_other_end
    from moekit.data.options import (
        PARTIAL,
        composed,
        is_partial,
        parse_source,
        path_as_stored,
        whole_number,
    )
    from moekit.data.packbits import end_of_runs
    from moekit.data.plain_files import check_file
    from moekit.data.samples import MASK_OF, SPLITS, UNSEEN, split_name, split_notes
    from moekit.data.splits import check_classes, check_splits, complete_splits
    from moekit.data.stream import Preprocess, image_batches
    from moekit.data.suffixes import IMAGE_SUFFIXES, JPEG_SUFFIXES, is_image_name
    from moekit.data.survey import Survey, none_usable, survey_folder
    from moekit.data.unlisted import unlisted_notes
    from moekit.data.views import unview_boxes, view_boxes
    from moekit.data.walk import walk_files

_HOMES = {
    "data.arrays": (
        "ArrayHeader",
        "Arrays",
    ),
    "data.geometry": ("Box",),
    "data.images": (
        "find_images",
        "read_frames",
        "read_image",
        "read_mask",
        "read_size",
        "relative_id",
    ),
    "data.jpeg_scans": ("jpeg_with_other_end",),
    "data.options": (
        "PARTIAL",
        "composed",
        "is_partial",
        "parse_source",
        "path_as_stored",
        "whole_number",
    ),
    "data.packbits": ("end_of_runs",),
    "data.plain_files": ("check_file",),
    "data.samples": (
        "MASK_OF",
        "SPLITS",
        "UNSEEN",
        "split_name",
        "split_notes",
    ),
    "data.splits": (
        "check_classes",
        "check_splits",
        "complete_splits",
    ),
    "data.stream": (
        "Preprocess",
        "image_batches",
    ),
    "data.suffixes": (
        "IMAGE_SUFFIXES",
        "JPEG_SUFFIXES",
        "is_image_name",
    ),
    "data.survey": (
        "Survey",
        "none_usable",
        "survey_folder",
    ),
    "data.unlisted": ("unlisted_notes",),
    "data.views": (
        "unview_boxes",
        "view_boxes",
    ),
    "data.walk": ("walk_files",),
}

__all__ = [
    "IMAGE_SUFFIXES",
    "JPEG_SUFFIXES",
    "MASK_OF",
    "PARTIAL",
    "SPLITS",
    "UNSEEN",
    "ArrayHeader",
    "Arrays",
    "Box",
    "Preprocess",
    "Survey",
    "check_classes",
    "check_file",
    "check_splits",
    "complete_splits",
    "composed",
    "end_of_runs",
    "find_images",
    "image_batches",
    "is_image_name",
    "is_partial",
    "jpeg_with_other_end",
    "none_usable",
    "parse_source",
    "path_as_stored",
    "read_frames",
    "read_image",
    "read_mask",
    "read_size",
    "relative_id",
    "split_name",
    "split_notes",
    "survey_folder",
    "unlisted_notes",
    "unview_boxes",
    "view_boxes",
    "walk_files",
    "whole_number",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
