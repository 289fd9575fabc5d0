"""Where the slices of one part lie, and how to make a regular grid of them.

The rules, all of them on the distance along the slice normal (ImagePositionPatient projected on
it; PS3.3 C.7.6.2.1.1), never on instance numbers or names:

- Slices within 0.01 mm are one place. Copies must agree in every voxel.
- The step is the median distance. A distance may differ from it by 1% or 0.01 mm, whichever is
  more, as long as no slice is further than a tenth of a step from where a regular grid has it.
- If distances are whole multiples of the step (with that tolerance times the multiple), slices
  are missing. They are interpolated if no two neighbours are missing, no more than 5% (but
  always one) are, and the step is at most 3 mm. Missing slices at either end leave no trace that
  could be checked.
- Otherwise the spacing varies. The part is resampled to a regular grid between the same ends if
  the largest distance is at most twice the smallest and at most 5 mm.
- Slices displaced sideways by more than half a pixel in all are a tilted gantry: they are moved
  back in their plane, if the displacement grows evenly (to half a pixel) and the tilt is at
  most 30 degrees, what CT gantries reach.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from moekit_medical.dicom.grouping import MIN_SLICES
from moekit_medical.dicom.slices import Slice
from moekit_medical.dicom.verdict import RefusedError

SAME_PLACE_MM = 0.01
STEP_TOLERANCE = 0.01
STEP_TOLERANCE_MM = 0.01
DRIFT_TOLERANCE = 0.1
MAX_MISSING = 0.05
MAX_STEP_TO_FILL_MM = 3.0
MAX_SPACING_RATIO = 2.0
MAX_SPACING_MM = 5.0
MAX_TILT_DEGREES = 30.0
MAX_GROWTH = 4
"""By what factor moving tilted slices back may enlarge the matrix."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How to make the volume of a part.

    Attributes:
        places: For each place, in order along the normal, the slice there and its copies.
        shift_N2: (N, 2) by how many pixels to move each place's slice along h and w, at least 0.
        matrix: Rows and columns after it.
        lower_D: (D,) the place at or below each slice of the volume.
        weight_D: (D,) the weight of the place above that one, in [0, 1).
        affine: As in `Volume`.
        repairs: What this mends, one sentence each.
    """

    places: tuple[tuple[Slice, ...], ...]
    shift_N2: np.ndarray
    matrix: tuple[int, int]
    lower_D: np.ndarray
    weight_D: np.ndarray
    affine: np.ndarray
    repairs: tuple[str, ...]


def plan_grid(slices: Sequence[Slice]) -> Plan:
    """Orders the slices and finds what must be done for a regular grid.

    Args:
        slices: A part as `split_series` makes it.

    Raises:
        RefusedError: One of the rules above forbids it.
    """
    row, column, normal = _axes(slices[0])
    places = _find_places(slices, normal)
    origin_N3 = np.array([place[0].position for place in places])
    along_N = origin_N3 @ normal
    along_N = along_N - along_N[0]
    offset_N3 = origin_N3 - origin_N3[0] - along_N[:, None] * normal
    spacing = np.array(places[0][0].spacing)
    sideways_N2 = np.stack([offset_N3 @ column, offset_N3 @ row], axis=1)

    lower_D, weight_D, repairs = _fill(along_N)
    tilt = _tilt(along_N, sideways_N2, half_pixel=spacing.min() / 2)
    start_2, shift_N2 = np.zeros(2), np.zeros_like(sideways_N2)
    step_3 = (origin_N3[-1] - origin_N3[0]) / (len(lower_D) - 1)
    if tilt:
        start_2 = sideways_N2.min(axis=0)
        shift_N2 = (sideways_N2 - start_2) / spacing
        step_3 = normal * along_N[-1] / (len(lower_D) - 1)
        repairs.append(f"The gantry tilt of {tilt:.1f} degrees was undone by moving each slice.")
    matrix = _matrix(places[0][0], shift_N2)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step_3, column * spacing[0], row * spacing[1]
    affine[:3, 3] = origin_N3[0] + start_2[0] * column + start_2[1] * row
    return Plan(
        places=places,
        shift_N2=shift_N2,
        matrix=matrix,
        lower_D=lower_D,
        weight_D=weight_D,
        affine=affine,
        repairs=tuple(repairs),
    )


def _axes(one: Slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit directions at right angles: along a row, along a column, along the normal."""
    row, column = np.array(one.orientation, dtype=float).reshape(2, 3)
    row = row / np.linalg.norm(row)
    normal = np.cross(row, column)
    normal = normal / np.linalg.norm(normal)
    return row, np.cross(normal, row), normal


def _find_places(slices: Sequence[Slice], normal: np.ndarray) -> tuple[tuple[Slice, ...], ...]:
    def height(one: Slice) -> float:
        return float(np.asarray(one.position) @ normal)

    places: list[list[Slice]] = []
    for one in sorted(slices, key=lambda one: (height(one), one.sop_uid, one.frame)):
        if places and height(one) - height(places[-1][0]) <= SAME_PLACE_MM:
            places[-1].append(one)
        else:
            places.append([one])
    for place in places:
        place.sort(key=lambda one: (one.sop_uid, one.frame, one.source.token))
        origin = np.array([one.position for one in place])
        if np.abs(origin - origin[0]).max() > min(place[0].spacing or ()) / 2:
            raise RefusedError(
                "slices in one plane lie next to each other",
                fix="separate the acquisitions that share the series",
                code="data/mixed-acquisitions",
            )
    names = [name for place in places for name in {(one.sop_uid, one.frame) for one in place}]
    if len(names) != len(set(names)):
        raise RefusedError(
            "slices at different places share one SOPInstanceUID",
            fix="export the series again; a file has the identity of another",
            code="data/duplicate-id",
        )
    if len(places) < MIN_SLICES:
        raise RefusedError(
            f"slices at {len(places)} places are fewer than {MIN_SLICES}",
            fix="give the whole series",
            code="data/too-few-slices",
        )
    return tuple(map(tuple, places))


def _fill(along_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """`lower_D`, `weight_D` and repairs for slices at these heights in mm."""
    gaps = np.diff(along_N)
    step = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    count = np.maximum(np.rint(gaps / step), 1)
    tolerance = max(STEP_TOLERANCE * step, STEP_TOLERANCE_MM)
    grid_N = np.concatenate([[0], np.cumsum(count)]).astype(int)
    drift = np.abs(along_N - along_N[-1] * grid_N / grid_N[-1]).max()
    # A distance of 0.01 / 0.01 mm more or less must not fail by its last binary digit.
    is_grid = np.all(np.abs(gaps - count * step) <= count * tolerance + 1e-9)
    if not is_grid or drift > DRIFT_TOLERANCE * step:
        return _resample(along_N, gaps, step)
    total = int(grid_N[-1]) + 1
    missing = total - len(along_N)
    if not missing:
        return np.arange(total), np.zeros(total), []
    _check_missing(missing, longest=int(count.max()) - 1, total=total, step=step)
    lower_D = np.searchsorted(grid_N, np.arange(total), side="right") - 1
    weight_D = np.concatenate([[0], np.where(np.diff(lower_D) == 0, 0.5, 0)])
    repair = f"Missing and interpolated between their neighbours: {missing} of {total} slices."
    return lower_D, weight_D, [repair]


def _check_missing(missing: int, *, longest: int, total: int, step: float) -> None:
    allowed = max(1, math.floor(MAX_MISSING * total))
    if longest == 1 and missing <= allowed and step <= MAX_STEP_TO_FILL_MM:
        return
    raise RefusedError(
        f"{missing} of {total} slices are missing, up to {longest} in a row, at {step:.2f} mm",
        fix="give the slices that are missing; only single ones at 3 mm or less can be filled",
        code="data/missing-slices",
    )


def _resample(
    along_N: np.ndarray, gaps: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    least, most = float(gaps.min()), float(gaps.max())
    if most > MAX_SPACING_RATIO * least + 1e-9 or most > MAX_SPACING_MM + 1e-9:
        raise RefusedError(
            f"the distance between slices varies from {least:.2f} to {most:.2f} mm",
            fix="give a reconstruction of regular spacing, or the parts of the series one by one",
            code="data/uneven-slices",
        )
    total = round(float(along_N[-1]) / step) + 1
    place_D = np.interp(np.linspace(0, along_N[-1], total), along_N, np.arange(len(along_N)))
    lower_D = np.minimum(np.floor(place_D + 1e-9).astype(int), len(along_N) - 1)
    weight_D = np.clip(place_D - lower_D, 0, None)
    weight_D[weight_D < 1e-6] = 0
    distance = along_N[-1] / (total - 1)
    repair = (
        f"Slices {least:.2f} to {most:.2f} mm apart were resampled to {total} slices"
        f" {distance:.3f} mm apart."
    )
    return lower_D, weight_D, [repair]


def _tilt(along_N: np.ndarray, sideways_N2: np.ndarray, *, half_pixel: float) -> float:
    """The tilt in degrees; 0 if no slice is displaced by more than half a pixel."""
    if np.abs(sideways_N2).max() <= half_pixel:
        return 0.0
    slope_2 = (along_N @ sideways_N2) / (along_N @ along_N)
    if np.abs(sideways_N2 - along_N[:, None] * slope_2).max() > half_pixel:
        raise RefusedError(
            "slices are displaced sideways without an even tilt",
            fix="separate the acquisitions that share the series",
            code="data/mixed-acquisitions",
        )
    degrees = math.degrees(math.atan(float(np.linalg.norm(slope_2))))
    if degrees > MAX_TILT_DEGREES:
        raise RefusedError(
            f"slices are displaced sideways as by a tilt of {degrees:.0f} degrees",
            fix="give images whose positions and orientations agree",
            code="data/bad-geometry",
        )
    return degrees


def _matrix(one: Slice, shift_N2: np.ndarray) -> tuple[int, int]:
    grown = np.ceil(shift_N2.max(axis=0) - 1e-6).astype(int)
    rows, columns = one.rows + int(grown[0]), one.columns + int(grown[1])
    if rows * columns > MAX_GROWTH * one.rows * one.columns:
        raise RefusedError(
            f"undoing the tilt would need a matrix of {rows} x {columns}",
            fix="give a reconstruction without tilt",
            code="data/bad-geometry",
        )
    return rows, columns


def nearest_places(plan: Plan) -> list[int]:
    """For each slice of the volume the place nearest to it, the lower of two that are as near."""
    return [
        int(lower) + int(weight > 0.5)
        for lower, weight in zip(plan.lower_D, plan.weight_D, strict=True)
    ]


def is_interpolated(plan: Plan) -> bool:
    """Whether a slice of the volume is made from two of the series."""
    return bool(plan.weight_D.any()) or len(plan.lower_D) != len(plan.places)


def copies(plan: Plan) -> list[Slice]:
    """The slices beyond the first of each place."""
    return list(itertools.chain.from_iterable(place[1:] for place in plan.places))
