"""Writes the lesions of one series: a Segmentation, or a NIfTI label, and pictures.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, PngImagePlugin
from scipy import ndimage  # type: ignore[import-untyped]

from moekit import DataError
from moekit.files import atomic_path
from moekit_medical.dicom.verdict import SetAsideError
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.findings.seg import build_segmentation
from moekit_medical.findings.sources import write_dicom
from moekit_medical.inference.inputs import Headers, Series
from moekit_medical.inference.lesion_parts import Lesion
from moekit_medical.loaders.masks.pictures import slice_picture

SEG, NIFTI = "segmentation.dcm", "segmentation.nii"
FILES = (SEG, NIFTI)
MOST_OVERLAYS = 20
NONE = f"{SEG}: no lesion was outlined, so there is none"
_OUTLINE = (255, 64, 64)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_lesions(
    folder: Path,
    series: Series,
    mask_DHW: np.ndarray,
    lesions: Sequence[Lesion],
    *,
    headers: Headers,
) -> tuple[str, ...]:
    """Writes what was outlined; nothing if there is no lesion.

    Args:
        folder: Of the series.
        series: The volume and its files.
        mask_DHW: (D, H, W) bool.
        lesions: Of the mask, the largest first.
        headers: Finds the slices again.

    Returns:
        The files that were left out, and why.

    Raises:
        StorageError: A file cannot be written.
    """
    if not lesions:
        return (NONE,)
    for number, lesion in enumerate(lesions[:MOST_OVERLAYS], 1):
        _write_overlay(
            folder / "overlays" / f"{number:02d}.png",
            series.volume.hu_DHW[lesion.widest],
            mask_DHW[lesion.widest],
        )
    if not series.files:
        _write_nifti(folder / NIFTI, mask_DHW, series.volume.affine)
        return ()
    try:
        sources = headers.of(series)
    except (SetAsideError, KeyError, DataError):
        return (f"{SEG}: the slices could not be read again",)
    try:
        made = build_segmentation(mask_DHW, series.volume, sources, kind="lesion")
        write_dicom(folder / SEG, made)
    except DataError as error:
        return (f"{SEG}: {error.what}",)
    return ()


def _write_overlay(path: Path, hu_HW: np.ndarray, mask_HW: np.ndarray) -> None:
    """A slice with the outline of its lesions; the disclaimer is in the file as a text chunk."""
    pixels = np.stack([slice_picture(hu_HW)] * 3, axis=-1)
    pixels[mask_HW & ~ndimage.binary_erosion(mask_HW)] = _OUTLINE
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Disclaimer", DISCLAIMER)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=6, pnginfo=notes)


def _write_nifti(path: Path, mask_DHW: np.ndarray, affine: np.ndarray) -> None:
    """A label of 0 and 1 on the volume's grid (NIfTI-1.1), the disclaimer as its description."""
    from nibabel.nifti1 import Nifti1Image

    placed = _LPS_TO_RAS @ affine[:, [2, 1, 0, 3]]
    image = cast(Any, Nifti1Image)(mask_DHW.T.astype(np.uint8), placed)
    image.header["descrip"] = DISCLAIMER.encode("ascii")
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        temporary.write_bytes(image.to_bytes())
