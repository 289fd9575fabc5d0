"""The masks that a folder holds: structure sets, segmentations and NIfTI labels, before any voxel.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from moekit import ImageError
from moekit.data import check_file
from moekit.files import sha256
from moekit_medical.dicom.reading import quiet, read
from moekit_medical.dicom.sources import Archives, find_sources
from moekit_medical.loaders.masks.grid import MaskError
from moekit_medical.loaders.masks.names import LesionNames
from moekit_medical.loaders.masks.segments import lesion_segments, place_segments
from moekit_medical.loaders.masks.structures import draw_lesions, read_lesions
from moekit_medical.loaders.masks.volumes import place_label
from moekit_medical.loaders.nifti_file import read_remarks
from moekit_medical.loaders.series_scan import Companion
from moekit_medical.volume import Volume

_STRUCTURES, _SEGMENTS, _NIFTI = "structure set", "segmentation", "NIfTI label"
_NAMES_NOTHING = "nothing in it is named as a lesion; the option roi chooses other labels"

Place = Callable[[Volume], np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Label:
    """One file with masks.

    Attributes:
        form: What it is, in words.
        token: Names the file in messages.
        digest: SHA-256 of the file.
        series: SeriesInstanceUIDs that it refers to.
        patient: PatientID; may be empty. Never shown.
        place: Gives the (D, H, W) bool lesions on a volume; None if it cannot be used.
        problem: Why it cannot be used, or an empty text.
        is_empty: Whether that is because it names no lesion.
        remarks: What must be assumed to read it, one sentence each.
    """

    form: str
    token: str = ""
    digest: str = ""
    series: frozenset[str] = dataclasses.field(default=frozenset(), repr=False)
    patient: str = dataclasses.field(default="", repr=False)
    place: Place | None = dataclasses.field(default=None, repr=False)
    problem: str = ""
    is_empty: bool = False
    remarks: tuple[str, ...] = ()

    def lesions(self, volume: Volume) -> np.ndarray:
        """(D, H, W) bool.

        Raises:
            MaskError: It cannot be used, or contradicts the volume.
        """
        if self.place is None:
            raise MaskError(f"its {self.form}: {self.problem}")
        try:
            with quiet():
                return self.place(volume)
        except MaskError as error:
            raise MaskError(f"its {self.form}: {error}") from None
        except Exception as error:  # parsers of damaged bytes raise nearly anything
            form = type(error).__name__
            raise MaskError(f"its {self.form} is truncated or damaged ({form})") from None


class LabelFiles:
    """Collects the labels among the DICOM files of a folder.

    Args:
        names: Which structures and segments are lesions.
        salt: That of the tokens of files.
    """

    def __init__(self, names: LesionNames, *, salt: bytes) -> None:
        self.labels: list[Label] = []
        self._names = names
        self._salt = salt

    def visit(self, companion: Companion) -> None:
        """Takes a file that holds no slices; others than labels are left aside."""
        storage = companion.dataset.get("SOPClassUID")
        if storage not in (RTStructureSetStorage, SegmentationStorage):
            return
        if any(label.digest == companion.digest for label in self.labels):
            return
        is_structures = storage == RTStructureSetStorage
        blank = Label(
            form=_STRUCTURES if is_structures else _SEGMENTS,
            token=companion.token,
            digest=companion.digest,
        )
        try:
            blank = dataclasses.replace(
                blank,
                series=frozenset(_references(companion.dataset)),
                patient=str(companion.dataset.get("PatientID") or ""),
            )
            place = self._structures(companion) if is_structures else self._segments(companion)
        except MaskError as error:
            label = dataclasses.replace(blank, problem=str(error))
        except Exception as error:
            reason = f"it cannot be read ({type(error).__name__})"
            label = dataclasses.replace(blank, problem=reason)
        else:
            label = dataclasses.replace(
                blank,
                place=place,
                problem="" if place else _NAMES_NOTHING,
                is_empty=place is None,
            )
        self.labels.append(label)

    def _structures(self, companion: Companion) -> Place | None:
        rois = read_lesions(companion.dataset, self._names)
        return functools.partial(draw_lesions, rois) if rois else None

    def _segments(self, companion: Companion) -> Place | None:
        numbers = lesion_segments(companion.dataset, self._names)
        if not numbers:
            return None
        return functools.partial(
            _place_again, companion.entry, companion.token, self._salt, numbers
        )


def nifti_label(path: Path) -> Label:
    """The label in a NIfTI file, or what is wrong with the file."""
    try:
        check_file(path)
        digest = sha256(path)
    except ImageError as error:
        return Label(form=_NIFTI, problem=error.what)
    except OSError:
        return Label(form=_NIFTI, problem="the file cannot be read")
    return Label(
        form=_NIFTI,
        digest=digest,
        place=functools.partial(place_label, path),
        remarks=tuple(f"Of a label: {remark}" for remark in read_remarks(path)),
    )


def _place_again(
    entry: Path, name: str, salt: bytes, numbers: frozenset[int], volume: Volume
) -> np.ndarray:
    """Reads a segmentation once more, now with its pixels."""
    with contextlib.closing(Archives()) as archives:
        sources, _ = find_sources(entry, salt=salt, archives=archives)
        (source,) = (one for one in sources if one.token == name)
        return place_segments(read(source, pixels=True), numbers, volume)


def _references(dataset: Dataset) -> Iterator[str]:
    """The series that a label refers to (PS3.3 C.12.2 of segmentations, C.8.8.5 of structures)."""
    for item in dataset.get("ReferencedSeriesSequence") or ():
        yield str(item.get("SeriesInstanceUID") or "")
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield str(series.get("SeriesInstanceUID") or "")
