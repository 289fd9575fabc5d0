"""Finds places in the lungs that could be nodules: bright blobs, the most ball-like first.

Maxima over place and size of a difference of Gaussians (Lindeberg 1998, International Journal of
Computer Vision 30:79-116; Lowe 2004, the same 60:91-110), ranked by how ball-like the second
derivatives are (Li, Sone and Doi 2003, Medical Physics 30:2040-2051): vessels, which are bright
tubes, and fissures, which are bright sheets, come last. Gaussians have their size in mm, so if
slices are thick the same rule turns into one on each slice by itself.

Shapes: D slices, H rows, W columns, N candidates.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from moekit_medical.inference.grids import carry, reduce
from moekit_medical.inference.lungs import Lungs
from moekit_medical.volume import Volume

GRID_MM = 1.25
MOST = 800
SIGMAS_MM = tuple(1.1 * math.sqrt(2) ** step for step in range(8))
"""Widths of the Gaussians; the differences answer most to balls of 4 to 36 mm diameter."""

APART_MM = 4.0
BORDER_MM = 3.0
"""How far outside the lung region a centre may lie."""

MOST_OFFSET = 0.499
"""How far from the middle of its voxel a maximum may be placed, in voxels; at one half a candidate
would lie between two slices, and rounding errors would decide on which of them it is scored."""

LEAST_CONTRAST_HU = 30.0
TISSUE_HU = (-1000.0, 200.0)
"""Values are limited to this, so that calcium and metal do not outweigh soft tissue."""

_DIAMETER_OF_SIGMA = 2 * math.sqrt(3)
"""A ball of radius r has its maximum over sizes at r / sqrt(3)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidates:
    """Places to score, the strongest first.

    Attributes:
        centre_mm_N3: (N, 3) float64, LPS mm.
        diameter_mm_N: (N,) float64, estimated from the size of Gaussian that answers most.
        strength_N: (N,) float64, HU.
        dropped: How many weaker places were found and are not among these.
    """

    centre_mm_N3: np.ndarray
    diameter_mm_N: np.ndarray
    strength_N: np.ndarray
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.strength_N)


def find_candidates(volume: Volume, lungs: Lungs, *, most: int = MOST) -> Candidates:
    """Finds blobs inside the lung region or within `BORDER_MM` of its border.

    Args:
        volume: (D, H, W), upright; that in which `lungs` was found.
        lungs: The lung region.
        most: How many to give at most.

    Returns:
        Candidates at least `APART_MM` apart, by descending strength; equal ones by place. What
        there is beyond `most` is counted.
    """
    work = reduce(volume, to_mm=GRID_MM)
    inside_mm_DHW = carry(lungs.inside_mm_DHW, work)
    box = _bounding_box(inside_mm_DHW > -BORDER_MM)
    corner = np.array([part.start for part in box])
    image_DHW = _hide_outside(work.hu_DHW[box], inside_mm_DHW[box], lungs.mean_hu)
    inside_DHW = inside_mm_DHW[box] > -BORDER_MM
    found = [
        _measure(level, work.spacing_mm)
        for level in _levels(image_DHW, inside_DHW, work.spacing_mm)
    ]
    index_N3 = np.concatenate([part[0] for part in found]) + corner
    diameter_N = np.concatenate([part[1] for part in found])
    strength_N = np.concatenate([part[2] for part in found])
    centre_N3 = work.to_patient(index_N3)
    apart = _thin_out(centre_N3, strength_N)
    chosen = apart[:most]
    return Candidates(
        centre_mm_N3=centre_N3[chosen],
        diameter_mm_N=diameter_N[chosen].astype(np.float64),
        strength_N=strength_N[chosen],
        dropped=len(apart) - len(chosen),
    )


def _bounding_box(mask_DHW: np.ndarray) -> tuple[slice, slice, slice]:
    parts = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(mask_DHW.any(axis=others))
        parts.append(slice(int(used[0]), int(used[-1]) + 1))
    d, h, w = parts
    return d, h, w


def _hide_outside(hu_DHW: np.ndarray, inside_mm_DHW: np.ndarray, lung_hu: float) -> np.ndarray:
    """Fades what lies outside the lungs into lung, so that the chest wall is no bright edge."""
    share_DHW = np.clip(1 + inside_mm_DHW / BORDER_MM, 0, 1)
    image_DHW: np.ndarray = np.clip(hu_DHW, *TISSUE_HU)
    image_DHW -= lung_hu
    image_DHW *= share_DHW
    return image_DHW


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Level:
    """The maxima of one size.

    Attributes:
        index_N3: (N, 3) int voxels.
        finer_N, own_N, coarser_N: Answer of the next smaller, this and the next larger size.
        blurred_DHW: The image blurred by this size.
        sigma_mm: The size.
    """

    index_N3: np.ndarray
    finer_N: np.ndarray
    own_N: np.ndarray
    coarser_N: np.ndarray
    blurred_DHW: np.ndarray
    sigma_mm: float


def _levels(
    image_DHW: np.ndarray, inside_DHW: np.ndarray, spacing_mm: tuple[float, float, float]
) -> Iterator[_Level]:
    """The maxima over place and size, one size after the other; few arrays are held at a time."""
    answers = _answers(image_DHW, spacing_mm)
    before = None
    for now, after in itertools.pairwise(itertools.chain(answers, [None])):
        assert now is not None
        answer_DHW, blurred_DHW, sigma_mm = now
        peak_DHW = (answer_DHW > LEAST_CONTRAST_HU) & inside_DHW
        for other in (before, after):
            if other is not None:
                peak_DHW &= answer_DHW >= other[0]
        peak_DHW &= ndimage.maximum_filter(answer_DHW, size=3, mode="nearest") == answer_DHW
        place = np.nonzero(peak_DHW)
        yield _Level(
            index_N3=np.stack(place, axis=1),
            finer_N=(before or now)[0][place],
            own_N=answer_DHW[place],
            coarser_N=(after or now)[0][place],
            blurred_DHW=blurred_DHW,
            sigma_mm=sigma_mm,
        )
        before = now


def _answers(
    image_DHW: np.ndarray, spacing_mm: tuple[float, float, float]
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Difference of two Gaussians, the finer of them, and the size that the difference stands for.

    The difference is that of the sizes s and s * sqrt(2); it crosses zero where the second
    derivative of one Gaussian of size s * sqrt(2 ln 2) does.
    """
    blurred_DHW, width = image_DHW, 0.0
    finer: np.ndarray | None = None
    for sigma_mm in SIGMAS_MM:
        more = math.sqrt(sigma_mm**2 - width**2)
        sigmas = [more / spacing for spacing in spacing_mm]
        blurred_DHW = ndimage.gaussian_filter(blurred_DHW, sigmas, mode="nearest")
        if finer is not None:
            yield finer - blurred_DHW, finer, width * math.sqrt(2 * math.log(2))
        finer, width = blurred_DHW, sigma_mm


def _measure(
    level: _Level, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places between the voxels, diameters in mm and strengths of the maxima that are blobs."""
    gradient_N3, hessian_N33 = _derivatives(level.blurred_DHW, level.index_N3)
    curved_N3 = np.minimum(np.diagonal(hessian_N33, axis1=1, axis2=2), -1e-3)
    index_N3 = level.index_N3 + np.clip(-gradient_N3 / curved_N3, -MOST_OFFSET, MOST_OFFSET)
    step_mm = np.array(spacing_mm)
    values_N3 = np.linalg.eigvalsh(hessian_N33 / (step_mm[:, None] * step_mm))
    steepest_N, flattest_N = -values_N3[:, 0], -values_N3[:, 2]
    is_blob_N = flattest_N > 0
    strength_N = (
        level.sigma_mm**2
        * np.where(is_blob_N, flattest_N, 0) ** 2
        / np.maximum(steepest_N, np.finfo(np.float64).tiny)
    )
    bend_N = level.finer_N + level.coarser_N - 2.0 * level.own_N
    slope_N = (level.coarser_N - level.finer_N) / 2
    step_N = np.clip(-slope_N / np.minimum(bend_N, -1e-3), -0.5, 0.5)
    diameter_N = _DIAMETER_OF_SIGMA * level.sigma_mm * math.sqrt(2) ** step_N
    return index_N3[is_blob_N], diameter_N[is_blob_N], strength_N[is_blob_N]


def _derivatives(image_DHW: np.ndarray, index_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) first and (N, 3, 3) second differences at voxels, float64; ends repeat."""
    last = np.array(image_DHW.shape) - 1

    def at(*shifts: tuple[int, int]) -> np.ndarray:
        place_N3 = index_N3.copy()
        for axis, shift in shifts:
            place_N3[:, axis] += shift
        place_N3 = np.clip(place_N3, 0, last)
        value: np.ndarray = image_DHW[tuple(place_N3.T)].astype(np.float64)
        return value

    gradient_N3 = np.stack([(at((a, 1)) - at((a, -1))) / 2 for a in range(3)], axis=1)
    hessian_N33 = np.empty((len(index_N3), 3, 3))
    for a in range(3):
        hessian_N33[:, a, a] = at((a, 1)) + at((a, -1)) - 2 * at()
        for b in range(a):
            mixed = at((a, 1), (b, 1)) - at((a, 1), (b, -1)) - at((a, -1), (b, 1))
            hessian_N33[:, a, b] = hessian_N33[:, b, a] = (mixed + at((a, -1), (b, -1))) / 4
    return gradient_N3, hessian_N33


def _thin_out(centre_N3: np.ndarray, strength_N: np.ndarray) -> np.ndarray:
    """Indices by descending strength, none closer than `APART_MM` to a stronger one."""
    order = np.lexsort((*centre_N3.T, -strength_N))
    open_N = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    for index in order:
        if open_N[index]:
            chosen.append(int(index))
            open_N &= np.linalg.norm(centre_N3 - centre_N3[index], axis=1) >= APART_MM
    return np.array(chosen, dtype=np.int64)
