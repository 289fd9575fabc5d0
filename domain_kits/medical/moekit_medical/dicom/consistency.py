"""Whether the slices of one series agree: in person, values, acquisition."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from moekit_medical.dicom.slices import ACQUISITION, Slice
from moekit_medical.dicom.verdict import RefusedError
from moekit_medical.hounsfield import AIR_HU, why_no_hounsfield

_SEPARATE = "separate the acquisitions, phases or reconstructions in the series"
_TIMES = ("AcquisitionTime", "AcquisitionDateTime")
_WORSE, _WORSE_HU = 2.0, 25.0
"""A slice of another scaling that is this much further from its neighbours than with the scaling of
the others contradicts them."""


def check_persons(slices: Sequence[Slice]) -> None:
    """Refuses a series that shows two persons under one PatientID.

    Raises:
        RefusedError: Names, birth dates or sexes differ.
    """
    for keyword in sorted({keyword for one in slices for keyword in one.person}):
        if len({one.person[keyword] for one in slices if keyword in one.person}) > 1:
            raise RefusedError(
                f"two persons share one PatientID: {keyword} differs between slices",
                fix="separate the patients and give each series a UID of its own",
                code="data/several-patients",
            )


def check_scaling(slices: Sequence[Slice]) -> None:
    """Refuses slices that say of equal bits that they are values of another sign.

    Raises:
        RefusedError: RescaleSlope has both signs, or PixelRepresentation differs.
    """
    if len({(one.slope or 0) > 0 for one in slices}) > 1:
        raise RefusedError(
            "RescaleSlope is positive in some slices and negative in others",
            fix="export the series again from the scanner or the archive, with all attributes",
            code="data/contradiction",
        )
    if len({one.representation for one in slices if one.representation is not None}) > 1:
        raise RefusedError(
            "PixelRepresentation differs between slices: some are signed and others are not",
            fix="export the series again from the scanner or the archive, with all attributes",
            code="data/contradiction",
        )


def check_acquisitions(places: Sequence[Sequence[Slice]]) -> None:
    """Refuses slices of several acquisitions, phases or reconstructions that alternate.

    An acquisition is a stretch of neighbouring slices. If a value comes back after another one,
    two scans share the space between. Times may jitter, so two of them must come back.

    Args:
        places: The slices at each place, in order along the normal.

    Raises:
        RefusedError: They alternate.
    """
    for keyword in ACQUISITION:
        values = [place[0].acquisition.get(keyword, "") for place in places]
        stretches = Counter(value for value, _ in itertools.groupby(values))
        again = sum(count > 1 for count in stretches.values())
        if again >= (2 if keyword in _TIMES else 1) and "" not in stretches:
            raise RefusedError(
                f"slices of {len(stretches)} acquisitions lie between each other"
                f" ({keyword} alternates)",
                fix=_SEPARATE,
                code="data/mixed-acquisitions",
            )


def check_values(hu_NHW: np.ndarray, places: Sequence[Sequence[Slice]]) -> None:
    """Refuses values that no CT has, and a slice whose scaling contradicts its neighbours.

    Args:
        hu_NHW: (N, H, W) HU, one slice a place.
        places: The slices at each place.

    Raises:
        RefusedError: One of them.
    """
    if not (hu_NHW != AIR_HU).any():
        raise RefusedError(
            "every voxel is padding or as empty as padding",
            fix="check PixelPaddingValue, PixelPaddingRangeLimit and the pixel data",
            code="data/not-hounsfield",
        )
    problem = why_no_hounsfield(hu_NHW)
    if problem:
        raise RefusedError(
            f"no Hounsfield units: {problem}",
            fix="check RescaleSlope, RescaleIntercept, PixelRepresentation and the pixel data",
            code="data/not-hounsfield",
        )
    scales = [(place[0].slope or 1.0, place[0].intercept or 0.0) for place in places]
    (usual, count), *others = Counter(scales).most_common()
    if not others or 2 * count <= len(scales):
        return
    for index, scale in enumerate(scales):
        if scale != usual and _contradicts(hu_NHW, index, scale, usual):
            raise RefusedError(
                "one slice has another RescaleSlope or RescaleIntercept than the others, and its"
                " values do not fit to theirs",
                fix="export the series again from the scanner or the archive, with all attributes",
                code="data/contradiction",
            )


def _contradicts(
    hu_NHW: np.ndarray, index: int, scale: tuple[float, float], usual: tuple[float, float]
) -> bool:
    """Whether a slice is nearer to its neighbours with the scaling of the others."""
    own_HW = hu_NHW[index].astype(np.float64)
    as_usual_HW = (own_HW - scale[1]) / scale[0] * usual[0] + usual[1]
    near = [hu_NHW[other] for other in (index - 1, index + 1) if 0 <= other < len(hu_NHW)]
    apart = [
        float(np.mean([np.abs(value_HW - other_HW).mean() for other_HW in near]))
        for value_HW in (own_HW, as_usual_HW)
    ]
    return apart[0] > _WORSE * apart[1] + _WORSE_HU


def words_of_loss(slices: Sequence[Slice]) -> list[str]:
    """That images were compressed with loss, as a sentence."""
    lossy = [one.loss for one in slices if one.loss]
    if not lossy:
        return []
    ratios = ", ".join(sorted(set(lossy)))
    return [
        f"Compressed with loss: {len(lossy)} of {len(slices)} slices ({ratios}); their values are"
        " not those of the scanner."
    ]
