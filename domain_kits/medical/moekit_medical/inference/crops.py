"""Axial pictures around candidates, as those of the data set that a scorer is trained on.

The training crops of `luna16_candidates` have 50 x 50 pixels, the candidate on pixel (25, 25), rows
to the back and columns to the left of the patient, -1000 to 400 HU as 0 to 255, rounded down. They
were cut without resampling, so their pixels have the size that each scan has: 0.46 to 0.98 mm in
LIDC-IDRI (Armato et al. 2011, Medical Physics 38:915-931). Here every series is brought to one size
in the middle of that range, `PIXEL_MM`; a crop is 35 mm wide.

Stacks come from the loaders of volumes only, so a run that was trained on them is given stacks as
those loaders cut them.

Shapes: D slices, H rows, W columns, N candidates, T frames, S pixels a side.
"""

from __future__ import annotations

import numpy as np

from moekit_medical.hounsfield import WINDOW_HU
from moekit_medical.inference.grids import triangle_weights
from moekit_medical.loaders.crops import CROP_MM, Form, Scan, cut_stack
from moekit_medical.loaders.crops import PIXEL_MM as STACK_PIXEL_MM
from moekit_medical.volume import Volume

PIXELS = 50
PIXEL_MM = 0.7
_CENTRE_PIXEL = 25


def cut_crops(volume: Volume, centre_mm_N3: np.ndarray) -> np.ndarray:
    """Cuts one crop a candidate from the slice nearest to it.

    Linear interpolation within the slice; if the pixels of a crop are larger than those of the
    slice each is a weighted mean of what it covers. Beyond the slice there is air.

    Args:
        volume: (D, H, W), upright.
        centre_mm_N3: (N, 3) LPS mm.

    Returns:
        (N, S, S) uint8.
    """
    low, high = WINDOW_HU
    crops_NSS = np.empty((len(centre_mm_N3), PIXELS, PIXELS), dtype=np.uint8)
    last = len(volume.hu_DHW) - 1
    for crop_SS, (d, h, w) in zip(crops_NSS, volume.to_index(centre_mm_N3), strict=True):
        hu_HW = volume.hu_DHW[min(max(round(d), 0), last)]
        rows, along_h = _line(h, hu_HW.shape[0], volume.spacing_mm[1])
        columns, along_w = _line(w, hu_HW.shape[1], volume.spacing_mm[2])
        # Above air, so that weights that sum to less than one stand for air beyond the slice.
        above_HW = np.clip(hu_HW[rows, columns], low, high) - low
        share_SS = (along_h @ above_HW @ along_w.T) / (high - low)
        crop_SS[:] = np.clip(share_SS * 255 + 1e-3, 0, 255)
    return crops_NSS


def cut_stacks(volume: Volume, centre_mm_N3: np.ndarray, *, frames: int) -> tuple[np.ndarray, int]:
    """Cuts one stack a candidate, as the loaders `dicom` and `nifti` do.

    Args:
        volume: (D, H, W), upright.
        centre_mm_N3: (N, 3) LPS mm.
        frames: T.

    Returns:
        (N, T, S, S) uint8, from the feet to the head, and how many of them reach beyond the volume
        and repeat its outermost slice.
    """
    side = round(CROP_MM / STACK_PIXEL_MM)
    stacks_NTSS = np.empty((len(centre_mm_N3), frames, side, side), dtype=np.uint8)
    scan, form = Scan(hu_DHW=volume.hu_DHW, affine=volume.affine), stack_form(frames)
    beyond = 0
    for stack_TSS, centre_mm in zip(stacks_NTSS, centre_mm_N3, strict=True):
        stack = cut_stack(scan, centre_mm, form=form)
        stack_TSS[:] = stack.pixels_THW
        beyond += stack.beyond > 0
    return stacks_NTSS, beyond


def field_mm(frames: int) -> tuple[float, float]:
    """Side of a crop in mm, and how far its left and upper edge lie from the candidate."""
    if frames == 1:
        return PIXELS * PIXEL_MM, (_CENTRE_PIXEL + 0.5) * PIXEL_MM
    return CROP_MM, CROP_MM / 2


def stack_form(frames: int) -> Form:
    """How a stack shows a candidate."""
    return Form(window=WINDOW_HU, slices=frames)


def _line(centre: float, size: int, spacing_mm: float) -> tuple[slice, np.ndarray]:
    """The voxels that one axis of a crop needs, and their (S, voxels) weights."""
    step = PIXEL_MM / spacing_mm
    position_S = centre + (np.arange(PIXELS) - _CENTRE_PIXEL) * step
    margin = max(1.0, step) + 1
    first = min(max(int(position_S[0] - margin), 0), size - 1)
    stop = min(max(int(position_S[-1] + margin) + 1, first + 1), size)
    return slice(first, stop), triangle_weights(position_S - first, stop - first, step=step)
