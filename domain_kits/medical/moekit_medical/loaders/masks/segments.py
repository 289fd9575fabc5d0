"""Lesions of a DICOM Segmentation (PS3.3 A.51) on the voxels of a volume.

Shapes: D slices, H rows, W columns, F frames.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from moekit_medical.dicom.slices import MAX_VOXELS
from moekit_medical.loaders.masks.grid import MaskError, check_frame, slice_of
from moekit_medical.loaders.masks.names import LesionNames
from moekit_medical.volume import Volume

_SIDEWAYS_PIXELS = 0.1
"""By how far the first pixel of a frame may miss that of its slice."""


def lesion_segments(dataset: Dataset, names: LesionNames) -> frozenset[int]:
    """The numbers of the segments that are lesions, by label or coded type (PS3.3 C.8.20.2).

    Args:
        dataset: The header of a Segmentation; call inside `reading.quiet`.
        names: Labels of lesions.
    """
    numbers = set()
    for item in dataset.get("SegmentSequence") or ():
        types = item.get("SegmentedPropertyTypeCodeSequence") or ()
        meanings = [str(code.get("CodeMeaning") or "") for code in types]
        if names.match(str(item.get("SegmentLabel") or ""), *meanings):
            numbers.add(int(item.SegmentNumber))
    return frozenset(numbers)


def place_segments(dataset: Dataset, numbers: frozenset[int], volume: Volume) -> np.ndarray:
    """The voxels of some segments; frames are placed by their position in the patient.

    Args:
        dataset: A binary Segmentation with its pixels; call inside `reading.quiet`.
        numbers: Of the segments.
        volume: (D, H, W) of the series that was segmented.

    Returns:
        (D, H, W) bool.

    Raises:
        MaskError: It is not binary, its size is not that of the volume, or its geometry or its
            frame of reference contradicts the volume.
    """
    check_frame(str(dataset.get("FrameOfReferenceUID") or ""), volume)
    if dataset.get("SegmentationType") != "BINARY":
        raise MaskError("it is not a binary segmentation")
    frames, (rows, columns) = int(dataset.get("NumberOfFrames") or 1), volume.hu_DHW.shape[1:]
    if (int(dataset.Rows), int(dataset.Columns)) != (rows, columns):
        raise MaskError("its frames have another size than the slices of the series")
    if frames * rows * columns > MAX_VOXELS:
        raise MaskError(f"it claims more than {MAX_VOXELS} voxels")
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if len(groups) != frames:
        raise MaskError("its functional groups are not one for each frame")
    pixels_FHW = np.asarray(dataset.pixel_array).reshape(frames, rows, columns)
    mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
    for own, frame_HW in zip(groups, pixels_FHW, strict=True):
        if _segment(own, dataset) in numbers:
            mask_DHW[_slice(own, dataset, volume)] |= frame_HW != 0
    return mask_DHW


def _segment(own: Dataset, dataset: Dataset) -> int:
    for item in _macro("SegmentIdentificationSequence", own, dataset):
        return int(item.ReferencedSegmentNumber)
    raise MaskError("a frame does not say of which segment it is")


def _slice(own: Dataset, dataset: Dataset, volume: Volume) -> int:
    """The slice on which a frame lies (PS3.3 C.7.6.16.2)."""
    measures = list(_macro("PixelMeasuresSequence", own, dataset))
    planes = list(_macro("PlaneOrientationSequence", own, dataset))
    positions = list(_macro("PlanePositionSequence", own, dataset))
    if not (measures and planes and positions):
        raise MaskError("a frame does not say where it lies")
    spacing_h, spacing_w = (float(number) for number in measures[0].PixelSpacing)
    found = np.array(planes[0].ImageOrientationPatient, dtype=np.float64)
    found = found * np.repeat([spacing_w, spacing_h], 3)
    _, along_h, along_w = volume.affine[:3, :3].T
    expected = np.concatenate([along_w, along_h])
    # What a wrong direction or distance amounts to at the far end of a row or column.
    drift = np.abs(found - expected).max() * max(volume.hu_DHW.shape[1:])
    index_13 = volume.to_index(
        np.array([positions[0].ImagePositionPatient], dtype=np.float64).reshape(1, 3)
    )
    sideways = np.abs(index_13[0, 1:]).max()
    aside = max(sideways, drift / min(volume.spacing_mm[1:]))
    if not aside <= _SIDEWAYS_PIXELS:
        raise MaskError("its pixels do not lie on those of the series")
    return slice_of(index_13, volume)


def _macro(name: str, own: Dataset, dataset: Dataset) -> Iterator[Dataset]:
    """The functional group of a frame: its own, or the shared one (PS3.3 C.7.6.16)."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for groups in (own, *shared[:1]):
        yield from groups.get(name) or ()
