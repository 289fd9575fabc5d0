"""Images of a split that the run has learned from: found by their content, and left out.

A split that is dealt by a seed is dealt again from what the folder holds now. After an image has
come, gone or moved, images that the run was trained on can lie in its test split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.data.content import Contents
from moekit.data.duplicates import KEEP
from moekit.data.many_classes import gap_notes
from moekit.data.samples import SPLITS, Dataset, Sample
from moekit.errors import DataError
from moekit.runs.run import Run
from moekit.runs.seen import learned_by
from moekit.text import few, many

Read = Callable[[Path, Sequence[Sample], TaskContext], Any]
SHOWN = 5
"""Images that a note names; result.json names all."""
UNKNOWN = (
    "which images the run learned from is not known (an earlier version made it, or their list "
    "was not handed on): that none of this split is among them cannot be checked"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unlearned:
    """A set without the images of a split that a run learned from.

    Attributes:
        dataset: The set; its notes say what was left out.
        found: The id of each such image with the split that the run had it in.
        as_json: What a result says of it.
    """

    dataset: Dataset
    found: dict[str, str]
    as_json: dict[str, Any]


def without_learned(
    run: Run, dataset: Dataset, split: str, contents: Contents, *, duplicates: str | None = None
) -> Unlearned:
    """Leaves out of a split what the run learned from in a split before it.

    Of `test` that are training and validation images, of `val` training images, of `train` none.
    If equal files are kept in two splits, the images stay, and a note says so.

    Args:
        run: The run.
        dataset: Split data.
        split: The split that is answered.
        contents: Hashes of the files.
        duplicates: What happens to equal files; as the run was made if None.

    Raises:
        DataError: Nothing is left, or the run's list of images is damaged.
    """
    before = SPLITS[: SPLITS.index(split)]
    known = learned_by(run) if before else {}
    if known is None:
        told = dataclasses.replace(dataset, notes=(*dataset.notes, UNKNOWN))
        return Unlearned(dataset=told, found={}, as_json={"checked": False, "images": {}})
    samples = dataset.split(split)
    found = {}
    for sample in samples:
        content = contents.of(sample.path) if before else ""
        where = next((one for one in before if content in known[one]), None)
        if where is not None:
            found[sample.id] = where
    keep = (duplicates or run.read()["request"].get("duplicates")) == KEEP
    facts = {"checked": True, "left_out": bool(found) and not keep, "images": found}
    if not found:
        return Unlearned(dataset=dataset, found={}, as_json=facts)
    which = f"{_images(len(found))} of this split"
    was = "was" if len(found) == 1 else "were"
    if keep:
        what = "kept, since equal files are kept, and figures on them are too good"
        told = dataclasses.replace(
            dataset, notes=(*dataset.notes, f"{which} {was} learned from by the run: {what}")
        )
        return Unlearned(dataset=told, found={}, as_json=facts)
    if len(found) == len(samples):
        raise DataError(
            f"the run has learned from every image of the {split} split ({_named(found)}): "
            "nothing is left to judge it by",
            whose=dataset.name,
            fix="restore the data that it was trained on, give images that it has not seen, or "
            "adapt again on these data",
            code="data/learned-from",
        )
    note = f"{which} {was} learned from by the run: left out ({_named(found)})"
    kept = dataset.with_samples(
        one for one in dataset.samples if one.split != split or one.id not in found
    )
    done = dataclasses.replace(kept, notes=(*dataset.notes, note))
    return Unlearned(dataset=done, found=found, as_json=facts)


def left_for_peer(
    read: Read | None, run: Run, dataset: Dataset, split: str, *, duplicates: str | None = None
) -> tuple[Unlearned, Read | None]:
    """As `without_learned`, with a way to read a peer's answers to what is left.

    A peer may have answered the images that are left out too; such answers do not count.

    Args:
        read: `Judge.read` of the task; None stays None.
        run: As of `without_learned`.
        dataset: As of `without_learned`.
        split: As of `without_learned`.
        duplicates: As of `without_learned`.
    """
    unlearned = without_learned(run, dataset, split, Contents(), duplicates=duplicates)
    left, found = unlearned.dataset, unlearned.found
    left = dataclasses.replace(left, notes=(*left.notes, *gap_notes(left, (split,))))
    unlearned = dataclasses.replace(unlearned, dataset=left)
    if read is None or not found:
        return unlearned, read

    def read_left(given: Path, samples: Sequence[Sample], context: TaskContext) -> Any:
        try:
            tally = read(given, dataset.split(split), context)
        except DataError:
            return read(given, samples, context)
        rows = [row for row, name in enumerate(tally.ids) if name not in found]
        return tally.take(np.array(rows))

    return unlearned, read_left


def _images(count: int) -> str:
    return many(count, "image", "images")


def _named(found: dict[str, str]) -> str:
    return few([f"{name} of {split}" for name, split in found.items()], SHOWN)
