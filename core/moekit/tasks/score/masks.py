"""Masks of positive pixels, as the connected regions that they hold.

Shapes: H and W rows and columns of a mask, P its positive pixels, R its regions.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from moekit.data.class_masks import read_classes
from moekit.data.images import read_mask
from moekit.data.samples import Sample
from moekit.errors import ImageError

LONGEST_SIDE = 512
"""Rows or columns of the longer side at which maps and masks are compared, at most."""

CONNECTIVITY = 8
"""Neighbours of a pixel, corners included."""

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RegionMask:
    """The positive pixels of one image, sorted by region.

    Regions are the 8-connected components of a mask, as in the evaluation code of MVTec AD
    (Bergmann et al. 2021, International Journal of Computer Vision 129:1038-1059) and in anomalib.

    Attributes:
        height: H.
        width: W.
        pixels_P: (P,) int64, places in the flattened mask.
        sizes_R: (R,) int64, pixels of each region; none is empty.
        vanished: Regions of the original mask of which no pixel is left at this resolution.
    """

    height: int
    width: int
    pixels_P: np.ndarray
    sizes_R: np.ndarray
    vanished: int = 0

    @classmethod
    def of(cls, mask: np.ndarray, *, longest: int = LONGEST_SIDE) -> RegionMask:
        """Finds the regions of a mask, then reduces it by nearest neighbour if it is larger.

        Args:
            mask: (rows, columns), positive if it is not zero.
            longest: Pixels of the longer side, at most.
        """
        from scipy import ndimage  # type: ignore[import-untyped]

        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        height, width = reduced_size(mask.shape, longest=longest)
        labels_HW = labels[np.ix_(_nearest(len(mask), height), _nearest(mask.shape[1], width))]
        flat = labels_HW.reshape(-1)
        places = np.flatnonzero(flat)
        sizes = np.bincount(flat[places], minlength=count + 1)[1:]
        return cls(
            height=height,
            width=width,
            pixels_P=places[np.argsort(flat[places], kind="stable")],
            sizes_R=sizes[sizes > 0],
            vanished=int((sizes == 0).sum()),
        )

    @classmethod
    def empty(cls, size: Size, *, longest: int = LONGEST_SIDE) -> RegionMask:
        """The mask of an image of that many rows and columns in which nothing is positive."""
        height, width = reduced_size(size, longest=longest)
        nothing = np.zeros(0, dtype=np.int64)
        return cls(height=height, width=width, pixels_P=nothing, sizes_R=nothing)


def read_regions(sample: Sample, size: Size) -> RegionMask:
    """The regions of a sample's mask; one that says nothing is positive if a negative has none.

    Args:
        sample: The sample.
        size: Rows and columns of its image.

    Raises:
        ImageError: The mask is missing, cannot be read, has another size than the image, or does
            not go with the label.
    """
    if sample.mask is None:
        if sample.label:
            raise _fault(sample, "it is positive and has no mask", code="image/missing-mask")
        return RegionMask.empty(size)
    try:
        if sample.mask_table is None:
            pixels = read_mask(sample.mask, size, image=sample.path)
        else:
            classes_HW = read_classes(sample.mask, size, sample.mask_table, image=sample.path)
            pixels = classes_HW == 1
    except ImageError as error:
        raise _fault(
            sample, f"its mask cannot be used: {error.what}", code="image/mask-unusable"
        ) from error
    mask = RegionMask.of(pixels)
    if bool(len(mask.sizes_R) or mask.vanished) != bool(sample.label):
        told = "is empty" if sample.label else "marks pixels"
        kind = "positive" if sample.label else "negative"
        raise _fault(sample, f"it is {kind} and its mask {told}", code="image/mask-contradicts")
    return mask


def reduced_size(size: Size, *, longest: int) -> Size:
    """Rows and columns, reduced in proportion so that neither is more than `longest`."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _nearest(given: int, wanted: int) -> np.ndarray:
    """The rows or columns that nearest neighbour takes, by the centres of pixels."""
    return ((np.arange(wanted) + 0.5) * given / wanted).astype(np.int64)


def _fault(sample: Sample, what: str, *, code: str) -> ImageError:
    return ImageError(
        what, whose=sample.id, fix="mend the mask, or leave the sample out", code=code
    )
