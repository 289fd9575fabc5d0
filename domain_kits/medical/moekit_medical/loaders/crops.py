"""Axial crops around points of a volume: 50 x 50 mm, 100 x 100 pixels, 8 bits.

The volume's axes are first turned to the nearest axes of the patient, so that a crop is seen as
radiologists see it: from the feet, the patient's left on the right, the front above. The crop lies
in the slice nearest to the point, which is its exact centre; values are interpolated linearly
within the slice, never between slices. Outside the volume is the lowest value of the window.

A stack is a crop with those of the neighbouring slices, from the feet to the head. Slices of 0.6 mm
differ by little but noise, so its frames are as many whole slices apart as come nearest to
`STEP_MM`; those of a series with thicker slices, if that would be none, are one apart. Beyond
the volume its outermost slice is repeated.

Shapes: D slices, H rows, W columns, T frames.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np

from moekit_medical.hounsfield import WINDOW_HU

CROP_MM = 50.0
PIXEL_MM = 0.5
STEP_MM = 2.5
"""Distance of the frames of a stack, as near as whole slices come to it."""


class CropError(Exception):
    """No crop can be made; the message says why and holds nothing of the patient."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """How a place in a volume is shown.

    Attributes:
        window: HU that become 0 and 255.
        slices: T, odd; 1 for the slice of the place alone.
    """

    window: tuple[float, float] = WINDOW_HU
    slices: int = 1

    @property
    def words(self) -> str:
        """A description for reports."""
        size = f"{CROP_MM:g} x {CROP_MM:g} mm at {PIXEL_MM:g} mm a pixel"
        window = f"{self.window[0]:g} to {self.window[1]:g} HU"
        if self.slices == 1:
            return f"axial crops of {size}, {window}"
        apart = f"neighbours, or about {STEP_MM:g} mm apart if slices are thinner"
        return f"stacks of {self.slices} axial crops, {apart}, of {size}, {window}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """What a volume shows around a place.

    Attributes:
        pixels_THW: (T, 100, 100) uint8, from the feet to the head; the middle one is the slice
            nearest to the place.
        beyond: How many frames lie beyond the volume and repeat its outermost slice.
    """

    pixels_THW: np.ndarray
    beyond: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """A volume whose axes D, H, W are nearest to the patient's z, y, x.

    Attributes:
        hu_DHW: (D, H, W) in Hounsfield units.
        affine: (4, 4) from indices (d, h, w, 1) to LPS mm (DICOM PS3.3 C.7.6.2.1.1).
    """

    hu_DHW: np.ndarray
    affine: np.ndarray

    def to_index(self, point_mm: np.ndarray) -> np.ndarray:
        """(3,) LPS mm to (3,) fractional indices (d, h, w)."""
        index: np.ndarray = np.linalg.solve(
            self.affine[:3, :3], np.asarray(point_mm) - self.affine[:3, 3]
        )
        return index

    def contains(self, point_mm: np.ndarray) -> bool:
        """Whether a point lies in a voxel of the volume."""
        index = self.to_index(point_mm)
        upper = np.array(self.hu_DHW.shape) - 0.5
        return bool(np.all((index >= -0.5 - 1e-6) & (index <= upper + 1e-6)))


def turn_to_patient(hu_DHW: np.ndarray, affine: np.ndarray) -> Scan:
    """Permutes and flips the axes of a volume; no value is changed or copied.

    Args:
        hu_DHW: A volume of any orientation.
        affine: (4, 4) from its indices to LPS mm, invertible.
    """
    from nibabel.orientations import io_orientation

    # For each axis of the array the patient's axis and the direction.
    nearest: np.ndarray = cast(Any, io_orientation)(affine)
    order = [int(np.flatnonzero(nearest[:, 0] == axis)[0]) for axis in (2, 1, 0)]
    turned = hu_DHW.transpose(order)
    placed = affine[:, [*order, 3]].astype(float)
    for axis, source in enumerate(order):
        if nearest[source, 1] < 0:
            placed[:, 3] += placed[:, axis] * (turned.shape[axis] - 1)
            placed[:, axis] *= -1
            turned = np.flip(turned, axis)
    return Scan(hu_DHW=turned, affine=placed)


def crop(scan: Scan, point_mm: np.ndarray, *, window: tuple[float, float]) -> np.ndarray:
    """One crop.

    Args:
        scan: The volume.
        point_mm: (3,) the centre, LPS mm.
        window: HU that become 0 and 255.

    Returns:
        (100, 100) uint8.

    Raises:
        CropError: The point lies outside the volume, values are not finite, or the whole crop has
            one value.
    """
    pixels_HW: np.ndarray = crop_stack(scan, point_mm, form=Form(window=window)).pixels_THW[0]
    return pixels_HW


def crop_stack(scan: Scan, point_mm: np.ndarray, *, form: Form) -> Stack:
    """The crops of a place, once it is sure that they show something.

    Args:
        scan: The volume.
        point_mm: (3,) the centre of the middle one, LPS mm.
        form: How it is shown.

    Raises:
        CropError: The point lies outside the volume, values are not finite, or the whole middle
            crop has one value.
    """
    if not scan.contains(point_mm):
        raise CropError("its centre lies outside the volume")
    stack = cut_stack(scan, point_mm, form=form)
    middle_HW = stack.pixels_THW[form.slices // 2]
    if middle_HW.min() == middle_HW.max():
        raise CropError("the crop has one value only inside the window")
    return stack


def cut_stack(scan: Scan, point_mm: np.ndarray, *, form: Form) -> Stack:
    """The crops of a place wherever it lies, whatever they show.

    Raises:
        CropError: Values are not finite.
    """
    depth, row, column = scan.to_index(point_mm)
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    last = len(scan.hu_DHW) - 1
    stride = max(1, round(STEP_MM / float(spacing[0])))
    middle, half = min(max(round(depth), 0), last), form.slices // 2
    wanted = [middle + by * stride for by in range(-half, half + 1)]
    shown = [min(max(number, 0), last) for number in wanted]
    steps = (np.arange(round(CROP_MM / PIXEL_MM)) + 0.5) * PIXEL_MM - CROP_MM / 2
    rows, columns = row + steps / spacing[1], column + steps / spacing[2]
    pixels = {
        number: _pixels(scan.hu_DHW[number], rows, columns, form.window) for number in set(shown)
    }
    return Stack(
        pixels_THW=np.stack([pixels[number] for number in shown]),
        beyond=sum(number != one for number, one in zip(wanted, shown, strict=True)),
    )


def _pixels(
    hu_HW: np.ndarray, rows_R: np.ndarray, columns_C: np.ndarray, window: tuple[float, float]
) -> np.ndarray:
    """(R, C) uint8."""
    low, high = window
    values = _interpolate(hu_HW, rows_R, columns_C, outside=low)
    if not np.isfinite(values).all():
        raise CropError("the volume holds values there that are not finite")
    share = (values.clip(low, high) - low) / (high - low)
    pixels_RC: np.ndarray = np.rint(share * 255).astype(np.uint8)
    return pixels_RC


def _interpolate(
    hu_HW: np.ndarray, rows_R: np.ndarray, columns_C: np.ndarray, *, outside: float
) -> np.ndarray:
    """(R, C) float64: values at fractional rows and columns, linear in both."""
    places = (rows_R, columns_C)
    values: np.ndarray = hu_HW
    for axis, place in enumerate(places):
        last = hu_HW.shape[axis] - 1
        lower = np.floor(place).clip(0, last).astype(int)
        upper = np.minimum(lower + 1, last)
        weight = np.expand_dims(place - lower, 1 - axis)
        values = values.take(lower, axis) * (1 - weight) + values.take(upper, axis) * weight
    inside_R, inside_C = (
        (place >= 0) & (place <= size - 1) for place, size in zip(places, hu_HW.shape, strict=True)
    )
    return np.where(inside_R[:, None] & inside_C[None, :], values, outside)
