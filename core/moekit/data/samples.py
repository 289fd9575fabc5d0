"""What a loader returns: labelled images with their groups and splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from moekit.data.geometry import Box
from moekit.data.mask_table import MaskTable
from moekit.errors import DataError

SPLITS = ("train", "val", "test")
MASK_OF = "mask of "
"""How the id of a mask that was left out begins; that of its image follows."""
_SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
}
UNSEEN = -1
"""The label of a sample that is of none of the classes."""


def split_name(text: str) -> str | None:
    """The split that a name means: train; val, valid, validation, dev, development; test.

    Upper and lower case are the same. None for any other name.
    """
    return _SPLIT_NAMES.get(text.strip().lower())


def split_notes(names: Iterable[str]) -> tuple[str, ...]:
    """A sentence on the names of splits that were read as others, if there are such names."""
    other = sorted({name for name in names if split_name(name) not in (None, name)})
    if not other:
        return ()
    told = ", ".join(f"{name!r} as {split_name(name)}" for name in other)
    return (f"names of splits were read by their meaning: {told}",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled image, or stack of frames.

    Attributes:
        id: Unique in its data set and stable across machines (a relative path, no folder of this
            machine in it).
        path: Where the image lies; of a stack, the multi-page TIFF that `read_frames` reads.
        label: Index into `Dataset.classes`; `UNSEEN` if the sample is of none of them, which only
            samples outside train may be.
        target: Training target in [0, 1], the annotators' probability of the positive class. None
            means the label itself.
        group: Images of one patient, part or scan share a group; a group never spans two splits.
        subtype: A stratum that is also reported alone (such as the make of the part).
        split: `train`, `val` or `test`; None until the data set is split.
        facts: More that subgroups are made from, by name, such as the maker of the device. They are
            kept with the predictions and read by report sections, so they may identify nobody.
        mask: An image of the size of this one whose pixels say what is where; None if nobody has
            drawn one. Without a `mask_table` every value but zero means class 1.
        labels: All classes of the sample, as indices, if samples may have several; `label` is then
            the first of them, or 0 if there is none. None if samples have one label each.
        mask_table: What the values of the mask mean; None as said above.
        window: The part of the image, and of its mask, that is learned from; None for all of it.
            Loaders leave it alone: large images are cut if a recipe says so.
        truth: What is known of the sample if labels and masks cannot say it, such as boxes or
            text, in the terms of the task that reads it. JSON-ready and equal by content: the
            data are known again by it. None if nobody has looked.
    """

    id: str
    path: Path
    label: int
    target: float | None = None
    group: str | None = None
    subtype: str | None = None
    split: str | None = None
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    mask: Path | None = None
    labels: tuple[int, ...] | None = None
    mask_table: MaskTable | None = None
    window: Box | None = None
    truth: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)

    @property
    def all_labels(self) -> tuple[int, ...]:
        """The classes that it is of, as indices; empty for none of them."""
        if self.labels is not None:
            return self.labels
        return () if self.label == UNSEEN else (self.label,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skipped:
    """An input that was left out, and why.

    Attributes:
        id: As of a sample.
        reason: One sentence.
        label: Its label if it is known, so that it can be counted as missed.
        split: Its split if it is known.
        facts: As of a sample.
    """

    id: str
    reason: str
    label: int | None = None
    split: str | None = None
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, sample: Sample, reason: str) -> Skipped:
        """A sample that could not be used."""
        return cls(
            id=sample.id,
            reason=reason,
            label=sample.label,
            split=sample.split,
            facts=sample.facts,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dealt:
    """How a seed dealt the samples of a set, so that they can be dealt again with other groups.

    Attributes:
        what: `all` samples, or those of `train`, from which val was made; `negatives` is the same
            of a train split of one class.
        seed: The seed.
        shares: Of train, val and test.
        every_class: As of `split_dataset`.
    """

    what: Literal["all", "train", "negatives"]
    seed: int
    shares: tuple[float, float, float]
    every_class: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A list of samples with the facts that a result must carry.

    Attributes:
        name: The loader's name and, if one was given, the folder's last part.
        samples: In a fixed order that does not depend on the file system.
        classes: Class names; `classes[1]` is the positive class of a two-class set.
        licence: SPDX identifier or the words of the source; "unknown" if nobody said.
        source: Where the data come from: a citation or a package with its version.
        split_note: How the splits were made, with the seed.
        skipped: Inputs that could not be used.
        positive: What a high score means on these data, if it is something else than the kit's
            own word says; empty otherwise.
        caution: What results on these data can show and what they cannot, for every output; empty
            if nothing needs to be said.
        frames: T, the frames that each sample has (neighbouring slices, pictures of a clip); 1 for
            images.
        has_negative: Whether the first of two classes is the negative one; False if the loader
            cannot tell.
        notes: What the loader took for granted, renamed or merged, a sentence each. Runs and
            results record them.
        licence_by: Who states the licence, if it is not the loader.
        dealt: How a seed dealt the samples; None if the data bring their splits.
        ready: Whether labels stand in the terms of a trained run already, so that no kit prepares
            them (`KitSpec.prepare`).
    """

    name: str
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    licence: str = "unknown"
    source: str = "unknown"
    split_note: str = "none"
    skipped: tuple[Skipped, ...] = ()
    positive: str = ""
    caution: str = ""
    frames: int = 1
    has_negative: bool = True
    notes: tuple[str, ...] = ()
    licence_by: str = ""
    dealt: Dealt | None = None
    ready: bool = False

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split, in order.

        Raises:
            DataError: No sample carries that split.
        """
        chosen = tuple(sample for sample in self.samples if sample.split == name)
        if not chosen:
            how = "" if self.split_note == "none" else f" ({self.split_note})"
            present = ", ".join(self.split_names()) or "none (the set is not split)"
            raise DataError(
                f"the data set has no images in its {name!r} split{how}{self.left_out}",
                whose=self.name,
                fix=f"use one of: {present}; or add images of the split {name!r} to the data",
                code="data/empty-split",
            )
        return chosen

    @property
    def left_out(self) -> str:
        """How many inputs are left out, and why the first is, for the end of a message."""
        lost = [skip for skip in self.skipped if not skip.id.startswith(MASK_OF)]
        if not lost:
            return ""
        first, count = lost[0], len(lost)
        what = "1 input is" if count == 1 else f"{count} inputs are"
        return f"; {what} left out, such as {first.id}: {first.reason}"

    @property
    def negatives_only(self) -> bool:
        """Whether there is a train split of two classes and no sample of it is positive."""
        return self.may_lack_positives and self._labels_of("train") == {0}

    @property
    def may_lack_positives(self) -> bool:
        """Whether there are two classes, one of them negative, and one label a sample."""
        one_each = all(sample.labels is None for sample in self.samples)
        return len(self.classes) == 2 and self.has_negative and one_each

    def _labels_of(self, split: str) -> set[int]:
        return {sample.label for sample in self.samples if sample.split == split}

    @property
    def words(self) -> dict[str, str]:
        """The words that take the place of the kit's on these data."""
        if not self.positive:
            return {}
        return {
            "positive": self.positive,
            "missed": f"missed {self.positive}",
            "false_alarm": f"false {self.positive}",
        }

    @property
    def terms(self) -> dict[str, str]:
        """Where the data come from, their licence, and what they can show."""
        return {"source": self.source, "licence": self.licence, "caution": self.caution}

    def split_names(self) -> tuple[str, ...]:
        """The splits that have samples, in the order train, val, test."""
        present = {sample.split for sample in self.samples}
        return tuple(name for name in SPLITS if name in present)

    def with_samples(self, samples: Iterable[Sample], *, split_note: str | None = None) -> Dataset:
        """A copy with other samples."""
        return dataclasses.replace(
            self, samples=tuple(samples), split_note=split_note or self.split_note
        )
