"""Finds the lung region in a chest CT.

Air inside the body by threshold and connected components, closed at the border (the way of Hu,
Hoffman and Reinhardt 2001, IEEE Transactions on Medical Imaging 20:490-498, without the separation
of left and right). Gas in the bowel that is large and mixed with other matter is taken for lung.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]
from skimage import morphology

from moekit_medical.dicom.kinds import NO_LUNGS
from moekit_medical.inference.grids import reduce
from moekit_medical.volume import Volume

GRID_MM = 2.0
AIR_HU = -400.0
LUNG_HU = (-970.0, -500.0)
"""Median of a region of lung; gas without lung tissue in it is below."""

LEAST_CM2 = 4.0
"""Area of a region in one slice that reaches the edge of the picture and may be lung still."""

LEAST_ML = 60.0
LEAST_SHARE = 0.05
"""Volume of a region that is kept next to the largest one, as a share of it."""

OPENING_MM = 4.0
"""Radius of the disc that takes the table off the body."""

BODY_SHARE = 0.1
"""Volume of a part of the body, as a share of the largest; lung that reaches two edges of a picture
parts it."""

CLOSING_MM = 10.0
"""Radius of the ball that closes the border: a nodule of up to twice this, half of it in
the wall of the chest, becomes part of the region."""

BONE_HU = 300.0
SHELL_MM = (2.0, 8.0)
MOST_BONE_AROUND, MOST_BONE = 0.15, 0.1
"""Share of bone in the shell of that distance around the region, and in all that is not air; in
chests they are up to 0.08 and 0.04, in a head with its sinuses 0.20 and 0.18."""

HOLE_CM2 = 20.0
"""Area enclosed by lung in one slice that is filled: a mass of 5 cm is, the heart is not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lungs:
    """The lung region on a grid of about 2 mm.

    Attributes:
        inside_mm_DHW: (D, H, W) float32, distance to the border of the region, positive inside.
        grid: The grid, with its HU values.
        volume_ml: Volume of the air in the region.
        mean_hu: Mean of that air, HU.
        is_in_bone: Whether bone lies around it and makes up much of the body: the cells of a skull
            have the density of lung too.
    """

    inside_mm_DHW: np.ndarray
    grid: Volume
    volume_ml: float
    mean_hu: float
    is_in_bone: bool = False


def find_lungs(volume: Volume) -> Lungs | None:
    """Finds air inside the body that has the volume and the density of lung.

    Args:
        volume: (D, H, W), upright. Any slice distance. Lung may reach the edge of the picture
            if its density tells it from the air around the body.

    Returns:
        The region, closed so that vessels and nodules at the pleura are in it, or None.
    """
    grid = reduce(volume, to_mm=GRID_MM)
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000
    air_DHW = _inner_air(grid.hu_DHW, grid.spacing_mm)
    kept_DHW = _keep_lungs(air_DHW, grid.hu_DHW, voxel_ml)
    if kept_DHW is None:
        return None
    return Lungs(
        inside_mm_DHW=_signed_distance(_close(kept_DHW, grid.spacing_mm), grid.spacing_mm),
        grid=grid,
        volume_ml=float(kept_DHW.sum() * voxel_ml),
        mean_hu=float(grid.hu_DHW[kept_DHW].mean(dtype=np.float64)),
        is_in_bone=_is_in_bone(kept_DHW, grid),
    )


def why_no_lungs(volume: Volume, lungs: Lungs | None) -> str:
    """Why no lungs can be searched for nodules; empty if they can.

    Args:
        volume: (D, H, W), with its facts.
        lungs: What `find_lungs` found in it.
    """
    part = volume.facts.get("body_part", "")
    if part in NO_LUNGS:
        return f"BodyPartExamined is {part}, which has no lungs"
    if lungs is None:
        if not (volume.hu_DHW < AIR_HU).any():
            return (
                f"no voxel is below {AIR_HU:g} HU: no air, or values that are not Hounsfield units"
            )
        return "nothing has the volume and the density of lung"
    if lungs.is_in_bone:
        return "what has the density of lung lies in bone, as in a skull"
    return ""


def _find_body(hu_DHW: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """(D, H, W) bool: in each slice the convex hull of what is large and not thin.

    Opening by a disc takes off sheets and tubes, such as the shells of a table.
    """
    radii = [max(1, round(OPENING_MM / spacing)) for spacing in spacing_mm[1:]]
    disc_HW = morphology.disk(max(radii)).astype(bool)  # type: ignore[no-untyped-call]
    thick_DHW = np.stack([ndimage.binary_opening(hu_HW > AIR_HU, disc_HW) for hu_HW in hu_DHW])
    labels_DHW, count = ndimage.label(thick_DHW)
    if count == 0:
        return thick_DHW
    size = np.bincount(labels_DHW.ravel())[1:]
    body_DHW: np.ndarray = np.isin(labels_DHW, np.flatnonzero(size >= BODY_SHARE * size.max()) + 1)
    for body_HW in body_DHW:
        if body_HW.any():
            body_HW[:] = morphology.convex_hull_image(  # type: ignore[no-untyped-call]
                body_HW, offset_coordinates=False
            )
    return body_DHW


def _inner_air(hu_DHW: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """(D, H, W) bool: air that is not around the body, slice by slice.

    What reaches the edge of the picture or of the body's hull is around the body, unless it has
    the density of lung: in a picture of a part of the chest lung reaches the edge too.
    """
    least = LEAST_CM2 * 100 / (spacing_mm[1] * spacing_mm[2])
    body_DHW = _find_body(hu_DHW, spacing_mm)
    air_DHW: np.ndarray = (hu_DHW < AIR_HU) & body_DHW
    for air_HW, hu_HW, body_HW in zip(air_DHW, hu_DHW, body_DHW, strict=True):
        edge_HW = body_HW & ~ndimage.binary_erosion(body_HW)
        labels_HW, _ = ndimage.label(air_HW)
        for number in np.unique(labels_HW[edge_HW & air_HW]):
            region_HW = labels_HW == number
            if region_HW.sum() < least or not _has_lung_density(np.median(hu_HW[region_HW])):
                air_HW[region_HW] = False
    return air_DHW


def _keep_lungs(air_DHW: np.ndarray, hu_DHW: np.ndarray, voxel_ml: float) -> np.ndarray | None:
    """The connected regions that have the volume and the density of lung, or None."""
    labels_DHW, count = ndimage.label(air_DHW)
    size_ml = np.bincount(labels_DHW.ravel(), minlength=count + 1)[1:] * voxel_ml
    large = np.flatnonzero(size_ml >= LEAST_ML)
    medians = [float(np.median(hu_DHW[labels_DHW == number + 1])) for number in large]
    lungs = large[np.array([_has_lung_density(median) for median in medians], dtype=bool)]
    if len(lungs) == 0:
        return None
    kept = lungs[size_ml[lungs] >= LEAST_SHARE * size_ml[lungs].max()]
    kept_DHW: np.ndarray = np.isin(labels_DHW, kept + 1)
    return kept_DHW


def _is_in_bone(kept_DHW: np.ndarray, grid: Volume) -> bool:
    away_mm = ndimage.distance_transform_edt(~kept_DHW, sampling=grid.spacing_mm)
    low, high = SHELL_MM
    shell_DHW = (away_mm > low) & (away_mm <= high)
    bone_DHW = grid.hu_DHW > BONE_HU
    tissue_DHW = grid.hu_DHW > AIR_HU
    if not (shell_DHW.any() and tissue_DHW.any()):
        return False
    around, overall = bone_DHW[shell_DHW].mean(), bone_DHW.sum() / tissue_DHW.sum()
    return bool(around > MOST_BONE_AROUND and overall > MOST_BONE)


def _has_lung_density(median_hu: float) -> bool:
    low, high = LUNG_HU
    return bool(low < median_hu < high)


def _close(mask_DHW: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Closes with a ball by two distance transforms, then fills small holes of each slice."""
    margins = [int(np.ceil(CLOSING_MM / spacing)) + 1 for spacing in spacing_mm]
    # Slices beyond the ends repeat the outermost ones, so that the ends are not worn off.
    padded = np.pad(mask_DHW, [(margins[0],) * 2, (0, 0), (0, 0)], mode="edge")
    padded = np.pad(padded, [(0, 0), (margins[1],) * 2, (margins[2],) * 2])
    outside_mm = ndimage.distance_transform_edt(~padded, sampling=spacing_mm)
    grown = outside_mm <= CLOSING_MM
    closed = ndimage.distance_transform_edt(grown, sampling=spacing_mm) > CLOSING_MM
    (d, h, w), (depth, height, width) = margins, mask_DHW.shape
    closed_DHW: np.ndarray = closed[d : d + depth, h : h + height, w : w + width] | mask_DHW
    most = int(HOLE_CM2 * 100 / (spacing_mm[1] * spacing_mm[2]))
    for closed_HW in closed_DHW:
        closed_HW[:] = morphology.remove_small_holes(closed_HW, max_size=most)
    return closed_DHW


def _signed_distance(mask_DHW: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """(D, H, W) float32 mm from the border, which lies between the voxels, positive inside."""
    inside = ndimage.distance_transform_edt(mask_DHW, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~mask_DHW, sampling=spacing_mm)
    half = min(spacing_mm) / 2
    signed: np.ndarray = np.where(mask_DHW, inside - half, half - outside).astype(np.float32)
    return signed
