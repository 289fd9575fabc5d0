"""Which mask belongs to which image, and one mask out of several.

anomalib gives the sorted masks to the sorted images in turn, so one that is missing or too many
shifts the others, or ends in an error; here names decide.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from moekit import ImageError
from moekit.backbone import cache_folder
from moekit.data import JPEG_SUFFIXES, check_file, read_mask, read_size
from moekit.files import atomic_path, sha256

_ENDINGS = ("_mask", "_label", "_gt")
Place = tuple[str, str]


def index_masks(masks: Iterable[Path], truth: Path) -> Mapping[Place, tuple[Path, ...]]:
    """The masks of each image, by its folder below the split and its name without ending.

    `FOLDER/NAME.png` and `FOLDER/NAME_mask.png` are the mask of NAME; the files of a folder
    `FOLDER/NAME/` of numbers are parts of the mask of NAME.

    Args:
        masks: Files below `truth`.
        truth: The folder of masks.
    """
    index: dict[Place, list[Path]] = {}
    for mask in masks:
        folder = mask.relative_to(truth).parent
        for name in {mask.stem, bare(mask)}:
            index.setdefault((folder.as_posix(), name), []).append(mask)
        if mask.stem.isdigit() and folder.name:
            index.setdefault((folder.parent.as_posix(), folder.name), []).append(mask)
    return {place: tuple(sorted(found)) for place, found in index.items()}


def bare(mask: Path) -> str:
    """The name of a mask without its suffix and without the word for mask at its end."""
    for ending in _ENDINGS:
        if mask.stem.lower().endswith(ending):
            return mask.stem[: -len(ending)]
    return mask.stem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """The mask of an image.

    Attributes:
        mask: None if there is none that can be used.
        faults: Why files of it are left out.
    """

    mask: Path | None
    faults: tuple[str, ...] = ()


def choose_mask(masks: Sequence[Path], image: Path) -> Chosen:
    """The mask of an image out of its files; the whole mask is left out if a part is unusable.

    A JPEG next to other files is a preview, since it can be no mask.

    Args:
        masks: Of one image, at least one.
        image: The file of that image.

    Raises:
        StorageError: The cache cannot be written.
    """
    previews = [mask for mask in masks if mask.suffix.lower() in JPEG_SUFFIXES]
    parts = tuple(mask for mask in masks if mask not in previews)
    if not parts:
        parts, previews = tuple(masks), []
    told = tuple(f"{one.name}: a JPEG is no mask; {parts[0].name} is used" for one in previews)
    faults = [f"{part.name}: {fault}" for part in parts if (fault := file_fault(part))]
    if not faults:
        try:
            return Chosen(mask=single_mask(parts, image), faults=told)
        except ImageError as error:
            faults = [f"{Path(error.whose).name}: {error.what}"]
    return Chosen(mask=None, faults=(*faults, *told))


def file_fault(path: Path) -> str | None:
    """Why a file cannot be read; None if nothing is known against it."""
    try:
        check_file(path)
    except ImageError as error:
        return error.what
    return None


def single_mask(masks: tuple[Path, ...], image: Path) -> Path | None:
    """The mask, or the union of several, which is written to the cache of moekit.

    Raises:
        ImageError: One of several cannot be read, or they differ in size.
        StorageError: The cache cannot be written.
    """
    if len(masks) < 2:
        return masks[0] if masks else None
    hashes = "".join(sha256(mask) for mask in masks)
    path = cache_folder() / "masks" / f"{hashlib.sha256(hashes.encode()).hexdigest()[:32]}.png"
    size_hw = read_size(masks[0])
    union_HW = np.any([read_mask(mask, size_hw, image=image) for mask in masks], axis=0)
    if not _holds(path, union_HW):
        with atomic_path(path) as temporary:
            Image.fromarray(union_HW.astype(np.uint8) * 255).save(temporary, format="PNG")
    return path


def _holds(path: Path, union_HW: np.ndarray) -> bool:
    """Whether a stored mask is there and is this one still."""
    try:
        return path.is_file() and np.array_equal(read_mask(path, union_HW.shape), union_HW)
    except ImageError:
        return False
