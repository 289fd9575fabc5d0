"""Writes the lesions of one series: a Segmentation, or a NIfTI label, and pictures.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from moekit import DataError
from moekit.files import atomic_path
from moekit_medical.dicom.verdict import SetAsideError
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.findings.seg import MOST_SEGMENTS, build_segmentation, segments_of
from moekit_medical.findings.sources import write_dicom
from moekit_medical.findings.zoom import Field, with_scale, write_picture
from moekit_medical.inference.inputs import Headers, Series
from moekit_medical.inference.lesion_parts import Lesion
from moekit_medical.volume import Volume

SEG, NIFTI = "segmentation.dcm", "segmentation.nii"
FILES = (SEG, NIFTI)
MOST_OVERLAYS = 20
NONE = f"{SEG}: no lesion was outlined, so there is none"
_OUTLINE = (255, 64, 64)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_lesions(
    folder: Path,
    series: Series,
    number_DHW: np.ndarray,
    lesions: Sequence[Lesion],
    *,
    headers: Headers,
) -> tuple[str, ...]:
    """Writes what was outlined; nothing if there is no lesion.

    Args:
        folder: Of the series.
        series: The volume and its files.
        number_DHW: (D, H, W) unsigned numbers of lesions, from 1; 0 for none.
        lesions: Of these numbers, the largest first.
        headers: Finds the slices again.

    Returns:
        What was left out, and why.

    Raises:
        StorageError: A file cannot be written.
    """
    if not lesions:
        return (NONE,)
    for number, lesion in enumerate(lesions[:MOST_OVERLAYS], 1):
        picture = _draw(series.volume, number_DHW[lesion.widest], number, lesion)
        write_picture(folder / "overlays" / f"{number:02d}.png", picture)
    if not series.files:
        _write_nifti(folder / NIFTI, number_DHW > 0, series.volume.affine)
        return ()
    try:
        sources = headers.of(series)
    except (SetAsideError, KeyError, DataError):
        return (f"{SEG}: the slices could not be read again",)
    numbers = range(1, int(number_DHW.max()) + 1)
    try:
        made = build_segmentation(
            number_DHW,
            series.volume,
            sources,
            kind="lesion",
            segments=segments_of(numbers, "lesion"),
        )
        write_dicom(folder / SEG, made)
    except DataError as error:
        return (f"{SEG}: {error.what}",)
    if len(lesions) <= MOST_SEGMENTS:
        return ()
    return (
        f"{SEG}: the last segment holds the {len(lesions) - MOST_SEGMENTS + 1} smallest lesions",
    )


def _draw(volume: Volume, number_HW: np.ndarray, number: int, lesion: Lesion) -> Image.Image:
    """The surroundings of a lesion on the slice where it is widest, all lesions outlined there."""
    _, spacing_h, spacing_w = volume.spacing_mm
    rows, columns = np.nonzero(number_HW == number)
    size_mm = max((np.ptp(rows) + 1) * spacing_h, (np.ptp(columns) + 1) * spacing_w)
    field = Field.around(
        (rows.min() + rows.max()) / 2,
        (columns.min() + columns.max()) / 2,
        (spacing_h, spacing_w),
        size_mm=float(size_mm),
    )
    pixels = np.array(field.picture(volume.hu_DHW[lesion.widest]))
    mask_PP = field.mask(number_HW > 0)
    pixels[mask_PP & ~ndimage.binary_erosion(mask_PP, iterations=2)] = _OUTLINE
    return with_scale(Image.fromarray(pixels), field)


def _write_nifti(path: Path, mask_DHW: np.ndarray, affine: np.ndarray) -> None:
    """A label of 0 and 1 on the volume's grid (NIfTI-1.1), the disclaimer as its description."""
    from nibabel.nifti1 import Nifti1Image

    placed = _LPS_TO_RAS @ affine[:, [2, 1, 0, 3]]
    image = cast(Any, Nifti1Image)(mask_DHW.T.astype(np.uint8), placed)
    image.header["descrip"] = DISCLAIMER.encode("ascii")
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        temporary.write_bytes(image.to_bytes())
