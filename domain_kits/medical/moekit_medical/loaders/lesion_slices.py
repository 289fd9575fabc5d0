"""Slices with lesions, and some without, as pictures and masks in the cache.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moekit.files import to_json
from moekit_medical.hounsfield import slice_picture
from moekit_medical.loaders.cache import Cached, Writer
from moekit_medical.loaders.crops import turn_to_patient
from moekit_medical.loaders.facts import facts_of_scan
from moekit_medical.loaders.lesion_labels import Label
from moekit_medical.loaders.masks.grid import MaskError, check_own_slices, dice
from moekit_medical.volume import Volume

VERSION = "3"
"""Of how slices and masks are made. Raise it with a change that makes others of the same bytes."""

SAME_LESION = 0.7
"""Masks of one series that overlap must agree by at least this Dice coefficient."""

BLANK = "the slice has one value only inside the window"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """What became of one series or volume.

    Attributes:
        folder: Where its pictures lie; None if it has none.
        reason: Why it has none, or an empty text.
        step_mm: Distance of slices.
        area_mm2: Area of lesions by slice, of those that were taken; slices count from the feet.
        blank: Slices that show nothing, and whether they hold a lesion.
        facts: Of `facts_of_scan`.
        repairs: What was mended or assumed when it was read, one sentence each.
    """

    folder: Path | None = None
    reason: str = ""
    step_mm: float = 0.0
    area_mm2: Mapping[int, float] = dataclasses.field(default_factory=dict)
    blank: Mapping[int, bool] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    repairs: tuple[str, ...] = ()

    def picture(self, d: int) -> Path:
        """The picture of a slice."""
        return (self.folder or Path()) / f"{d:04}.png"

    def mask(self, d: int) -> Path:
        """The mask of a slice: 0 for background, 1 for lesions."""
        return (self.folder or Path()) / f"{d:04}_mask.png"


def write_scan(
    writer: Writer, name: str, volume: Volume, labels: Sequence[Label], *, negatives: float
) -> None:
    """Writes the slices of a volume, or notes why there are none.

    Args:
        writer: Of the cache.
        name: Sub-folder.
        volume: (D, H, W).
        labels: At least one.
        negatives: Slices without a lesion for each slice with one.
    """
    try:
        turned_DHW = turn_to_patient(lesions_of(labels, volume), volume.affine).hu_DHW
    except MaskError as error:
        note_reason(writer, name, str(error))
        return
    pixel_mm2 = _pixel_mm2(volume)
    scan = turn_to_patient(volume.hu_DHW, volume.affine)
    area: dict[int, float] = {}
    blank: dict[int, bool] = {}
    for d in chosen_slices(turned_DHW, negatives=negatives):
        picture_HW = slice_picture(scan.hu_DHW[d])
        count = int(turned_DHW[d].sum())
        if picture_HW.min() == picture_HW.max():
            blank[d] = count > 0
            continue
        area[d] = count * pixel_mm2
        writer.image(f"{name}/{d:04}.png", picture_HW)
        writer.image(f"{name}/{d:04}_mask.png", turned_DHW[d].astype(np.uint8))
    _note(
        writer,
        name,
        step_mm=float(np.linalg.norm(scan.affine[:3, 0])),
        area_mm2=area,
        blank=blank,
        facts=facts_of_scan(volume.facts),
        repairs=[*volume.repairs, *(told for label in labels for told in label.remarks)],
    )


def note_reason(writer: Writer, name: str, reason: str) -> None:
    """Notes why a series or volume has no slices."""
    _note(writer, name, reason=reason)


def read_scan(cached: Cached, name: str) -> Scan:
    """What `write_scan` or `note_reason` left in the cache."""
    known: dict[str, Any] = json.loads(cached.notes[name])
    return Scan(
        folder=cached.folder / name,
        reason=known["reason"],
        step_mm=known["step_mm"],
        area_mm2={int(d): float(area) for d, area in known["area_mm2"].items()},
        blank={int(d): bool(lesion) for d, lesion in known["blank"].items()},
        facts=known["facts"],
        repairs=tuple(known["repairs"]),
    )


def lesions_of(labels: Sequence[Label], volume: Volume) -> np.ndarray:
    """(D, H, W) bool, the lesions of all labels of a volume together.

    Labels that name no lesion are left aside if another one does.

    Raises:
        MaskError: One cannot be used or contradicts the volume, two of them contradict each other,
            or none holds a lesion.
    """
    check_own_slices(volume)
    used = [label for label in labels if not label.is_empty] or labels
    masks = [label.lesions(volume) for label in used]
    for first_DHW, second_DHW in itertools.combinations(masks, 2):
        if (first_DHW & second_DHW).any() and dice(first_DHW, second_DHW) < SAME_LESION:
            raise MaskError("its masks contradict each other; keep those of one reader")
    mask_DHW: np.ndarray = np.logical_or.reduce(masks)
    if not mask_DHW.any():
        raise MaskError("its masks hold no voxel of a lesion")
    return mask_DHW


def chosen_slices(mask_DHW: np.ndarray, *, negatives: float) -> list[int]:
    """All slices with a lesion, and some of the others.

    Those are drawn at random, but always the same for one mask: the seed of a run moves samples
    between splits, and neither adds nor drops any.

    Args:
        mask_DHW: bool.
        negatives: Slices without a lesion for each slice with one.
    """
    holds_D = mask_DHW.any(axis=(1, 2))
    with_lesion, without = np.flatnonzero(holds_D), np.flatnonzero(~holds_D)
    digest = hashlib.sha256(np.packbits(mask_DHW).tobytes()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    count = min(len(without), round(negatives * len(with_lesion)))
    drawn = generator.choice(without, size=count, replace=False) if count else without[:0]
    return sorted(int(d) for d in (*with_lesion, *drawn))


def _pixel_mm2(volume: Volume) -> float:
    """The area of a pixel of the slices that lie across the patient's axis."""
    _, along_h, along_w = turn_to_patient(volume.hu_DHW, volume.affine).affine[:3, :3].T
    return float(np.linalg.norm(np.cross(along_h, along_w)))


def _note(writer: Writer, name: str, **known: Any) -> None:
    blank = {"reason": "", "step_mm": 0.0, "area_mm2": {}, "blank": {}, "facts": {}, "repairs": []}
    writer.note(name, to_json({**blank, **known}))
