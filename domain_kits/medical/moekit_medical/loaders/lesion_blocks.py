"""Splits of slices that cannot be made by patient: blocks of neighbouring slices with gaps.

Slices next to each other show nearly the same, so splits of single slices would test on what was
trained on. Blocks with gaps lessen that and do not end it: the patient, and often the lesion, is
the same in all splits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from moekit import DataError, Dataset, Sample, Skipped
from moekit.data import SPLITS

GAP_MM = 5.0
SHARES = (0.60, 0.15)
"""Shares of train and validation in the slices with a lesion that lie in no gap."""

NOTE = (
    f"blocks of neighbouring slices of each scan, from the feet train, val and test, with gaps of "
    f"at least {GAP_MM:g} mm between them; not by patient"
)
CAUTION = (
    "Train, validation and test are blocks of slices of the same scans. Results say nothing of "
    "other patients."
)
_IN_GAP = "it lies in the gap between two blocks of slices"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a sample lies.

    Attributes:
        scan: Number of its series or volume.
        d: Its slice, from the feet.
        step_mm: Distance of slices there.
    """

    scan: int
    d: int
    step_mm: float


def deal_blocks(dataset: Dataset, places: Mapping[str, Place]) -> Dataset:
    """Deals each scan in three blocks; slices in the gaps are left out and named.

    A scan with too few slices that hold a lesion is for training as a whole.

    Args:
        dataset: Samples of label 1 hold a lesion; all have groups.
        places: By the id of a sample.

    Raises:
        DataError: A split would hold no slice with a lesion.
    """
    scans: dict[int, list[Sample]] = {}
    for sample in dataset.samples:
        scans.setdefault(places[sample.id].scan, []).append(sample)
    split_of: dict[str, str | None] = {}
    for samples in scans.values():
        split_of |= _deal(samples, places)
    kept = [
        dataclasses.replace(
            sample,
            split=split_of[sample.id],
            group=f"{sample.group}, {split_of[sample.id]}",
        )
        for sample in dataset.samples
        if split_of[sample.id] is not None
    ]
    dropped = [
        Skipped.of(sample, _IN_GAP) for sample in dataset.samples if split_of[sample.id] is None
    ]
    for split in SPLITS:
        if not any(sample.split == split and sample.label for sample in kept):
            raise DataError(
                f"there are too few slices with a lesion for a block of the {split} split",
                whose=dataset.name,
                fix="add series, or patients so that splits are made by patient",
                code="data/too-few",
            )
    return dataclasses.replace(
        dataset,
        samples=tuple(kept),
        skipped=(*dataset.skipped, *dropped),
        caution=CAUTION,
    )


def _deal(samples: Sequence[Sample], places: Mapping[str, Place]) -> dict[str, str | None]:
    """The split of each slice of one scan; None for one in a gap."""
    lesions = sorted(places[sample.id].d for sample in samples if sample.label)
    gap = max(1, math.ceil(GAP_MM / places[samples[0].id].step_mm))
    usable = len(lesions) - 2 * gap
    if usable < len(SPLITS):  # too few for three blocks
        return {sample.id: "train" for sample in samples}
    train, val = (max(1, round(share * usable)) for share in SHARES)
    starts = (lesions[train + gap], lesions[min(train + val, usable - 1) + 2 * gap])
    split_of: dict[str, str | None] = {}
    for sample in samples:
        d = places[sample.id].d
        in_gap = any(start - gap <= d < start for start in starts)
        split_of[sample.id] = None if in_gap else SPLITS[sum(d >= start for start in starts)]
    return split_of
