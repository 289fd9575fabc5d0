"""Lesions of an RT Structure Set (PS3.3 A.19): contours in planes, filled slice by slice.

Shapes: D slices, H rows, W columns, N corners.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset

from moekit_medical.loaders.masks.grid import MaskError, check_frame, slice_of
from moekit_medical.loaders.masks.names import LesionNames
from moekit_medical.loaders.masks.polygons import fill_polygon
from moekit_medical.volume import Volume

MOST_CONTOURS = 100_000
_GTV = "GTV"
_XOR = "CLOSEDPLANAR_XOR"
_CLOSED = ("CLOSED_PLANAR", _XOR)
_BEYOND_PIXELS = 1.0
"""By how far a contour may leave the matrix of its slice."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Contour:
    """A closed line in one plane.

    Attributes:
        corner_N3: (N, 3) LPS mm.
        is_xor: Whether it is combined with the others of its plane by exclusive or.
    """

    corner_N3: np.ndarray
    is_xor: bool


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Roi:
    """One lesion structure.

    Attributes:
        frame: The frame of reference of its coordinates.
        contours: At least one.
    """

    frame: str
    contours: tuple[Contour, ...]


def read_lesions(dataset: Dataset, names: LesionNames) -> tuple[Roi, ...]:
    """The structures that are lesions: by their label, or of the interpreted type GTV.

    Structures without a contour are left out.

    Args:
        dataset: An RT Structure Set; call inside `reading.quiet`.
        names: Labels of lesions.

    Raises:
        MaskError: A lesion has contours that are not closed, or there are too many.
    """
    types = {
        int(item.ReferencedROINumber): str(item.get("RTROIInterpretedType") or "").upper()
        for item in dataset.get("RTROIObservationsSequence") or ()
    }
    contours = {
        int(item.ReferencedROINumber): item.get("ContourSequence") or ()
        for item in dataset.get("ROIContourSequence") or ()
    }
    found = []
    for item in dataset.get("StructureSetROISequence") or ():
        number = int(item.ROINumber)
        is_lesion = types.get(number) == _GTV or names.match(str(item.get("ROIName") or ""))
        if is_lesion and contours.get(number):
            frame = str(item.get("ReferencedFrameOfReferenceUID") or "")
            found.append(Roi(frame=frame, contours=tuple(_contours(contours[number]))))
    return tuple(found)


def _contours(items: Sequence[Dataset]) -> Iterator[Contour]:
    if len(items) > MOST_CONTOURS:
        raise MaskError(f"a structure has more than {MOST_CONTOURS} contours")
    for item in items:
        kind = str(item.get("ContourGeometricType") or "")
        if kind not in _CLOSED:
            raise MaskError("a lesion is drawn with contours that are not closed")
        corner_N3 = np.array(item.ContourData, dtype=np.float64).reshape(-1, 3)
        if not np.isfinite(corner_N3).all() or not len(corner_N3):
            raise MaskError("a contour has coordinates that are no numbers")
        yield Contour(corner_N3=corner_N3, is_xor=kind == _XOR)


def draw_lesions(rois: Sequence[Roi], volume: Volume) -> np.ndarray:
    """The voxels of lesions whose centres lie within contours.

    Args:
        rois: Of one structure set.
        volume: (D, H, W) of the series on which they were drawn.

    Returns:
        (D, H, W) bool.

    Raises:
        MaskError: Frame of reference or place contradict the volume, or a contour lies within
            another one and does not say whether it is a hole.
    """
    mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
    for roi in rois:
        check_frame(roi.frame, volume)
        for d, contours in _by_slice(roi.contours, volume).items():
            mask_DHW[d] |= _combine(contours, volume.hu_DHW.shape[1:])
    return mask_DHW


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Flat:
    """A contour in the rows and columns of its slice."""

    corner_N2: np.ndarray
    is_xor: bool


def _by_slice(contours: Sequence[Contour], volume: Volume) -> dict[int, list[_Flat]]:
    found: dict[int, list[_Flat]] = {}
    upper = np.array(volume.hu_DHW.shape[1:]) - 1 + _BEYOND_PIXELS
    for contour in contours:
        index_N3 = volume.to_index(contour.corner_N3)
        d = slice_of(index_N3, volume)
        corner_N2 = index_N3[:, 1:]
        if ((corner_N2 < -_BEYOND_PIXELS) | (corner_N2 > upper)).any():
            raise MaskError("a contour leaves the picture of its slice")
        found.setdefault(d, []).append(_Flat(corner_N2=corner_N2, is_xor=contour.is_xor))
    return found


def _combine(contours: Sequence[_Flat], size: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool of the contours of one structure in one slice (PS3.3 C.8.8.6.3)."""
    height, width = size
    mask_HW = np.zeros((height, width), dtype=bool)
    for contour in sorted(contours, key=lambda one: one.is_xor):
        filled_HW = fill_polygon(contour.corner_N2, (height, width))
        if contour.is_xor:
            mask_HW ^= filled_HW
            continue
        if _nested(mask_HW, filled_HW):
            raise MaskError("a contour lies within another one and does not say if it is a hole")
        mask_HW |= filled_HW
    return mask_HW


def _nested(first_HW: np.ndarray, second_HW: np.ndarray) -> bool:
    shared = int((first_HW & second_HW).sum())
    return shared > 0 and shared == min(int(first_HW.sum()), int(second_HW.sum()))
