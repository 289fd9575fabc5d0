"""Masks that a peer wrote, judged as answers.

Shapes: H and W rows and columns of a picture, C classes.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.data.class_masks import look_up, read_values
from moekit.data.images import find_images, read_size, relative_id
from moekit.data.mask_table import IGNORED, MaskTable
from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.tasks.segment.tally import Counts, SegmentTally
from moekit.tasks.segment.truth import read_truth
from moekit.text import few

_NAMED = 3


def read_masks(path: Path, samples: Sequence[Sample], context: TaskContext) -> SegmentTally:
    """Reads a folder of masks, one for each sample, and counts them.

    A mask is named after its sample: the path of the id, or its last part, with any ending, in the
    folder or below. Numbers are those of the data's own masks if these list all that the folder
    holds, else class numbers; the folder is read in one way or the other, never in both.

    Args:
        path: The folder.
        samples: Of the split, with truth.
        context: Of the run.

    Raises:
        DataError: A mask is missing, is no sample's, has another size, holds unknown numbers, or
            gives no class to a pixel that counts.
    """
    if not path.is_dir():
        raise DataError(
            "there is no such folder of masks",
            whose=str(path),
            fix="name the folder with one mask a sample",
            code="data/not-found",
        )
    files = _assigned(path, samples)
    tables = _tables(files, samples, len(context.classes))
    counts = []
    for sample in samples:
        file = files[sample.id]
        values = read_values(file)
        size = read_size(sample.path)
        if values.shape[:2] != size:
            raise DataError(
                f"the mask has {values.shape[1]} x {values.shape[0]} pixels, the image of "
                f"{sample.id} {size[1]} x {size[0]}",
                whose=str(file),
                fix="enlarge the answer to the size of its image, by nearest neighbour",
                code="data/mask-size",
            )
        answer_HW = look_up(values, tables[sample.id], file)
        truth_HW = read_truth(sample, size, len(context.classes))
        counts.append(
            Counts.of(_complete(answer_HW, truth_HW, file), truth_HW, len(context.classes))
        )
    return SegmentTally.of(samples, context, counts)


def _assigned(path: Path, samples: Sequence[Sample]) -> Mapping[str, Path]:
    """The mask of each sample by its id."""
    found: dict[str, list[Path]] = {}
    for file in find_images(path):
        found.setdefault(_stem(relative_id(file, path)), []).append(file)
    by_name: dict[str, list[Path]] = {}
    for stem, files in found.items():
        by_name.setdefault(PurePosixPath(stem).name, []).extend(files)
    shared = collections.Counter(PurePosixPath(_stem(sample.id)).name for sample in samples)
    files_of: dict[str, Path] = {}
    missing = []
    for sample in samples:
        stem = _stem(sample.id)
        name = PurePosixPath(stem).name
        own = found.get(stem) or (by_name.get(name) if shared[name] == 1 else None) or []
        if len(own) > 1:
            raise DataError(
                f"{sample.id} has {len(own)} masks: {', '.join(one.name for one in own)}",
                whose=str(path),
                fix="leave one mask a sample",
                code="data/duplicate-id",
            )
        if own:
            files_of[sample.id] = own[0]
        else:
            missing.append(sample.id)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(samples)} samples have no mask: {_few(missing)}",
            whose=str(path),
            fix="write a mask for each sample of the split, named after its id",
            code="data/missing-answer",
        )
    used = set(files_of.values())
    unknown = [one.name for files in found.values() for one in files if one not in used]
    if unknown:
        raise DataError(
            f"{len(unknown)} masks are of no sample of the split: {_few(unknown)}",
            whose=str(path),
            fix="remove them, or judge them against the split that they belong to",
            code="data/unknown-id",
        )
    return files_of


def _tables(
    files: Mapping[str, Path], samples: Sequence[Sample], classes: int
) -> Mapping[str, MaskTable]:
    """The table by which each mask is read: its sample's own, or class numbers, for all alike."""
    plain = MaskTable(values={number: number for number in range(classes)})
    own = {sample.id: sample.mask_table for sample in samples}
    for name, file in files.items():
        table = own[name]
        raw = read_values(file)
        if raw.ndim == 3:
            continue
        values = set(np.unique(raw).astype(int).tolist())
        if table is None or not values <= {*table.values}:
            return {
                sample.id: MaskTable(
                    values=plain.values, colours=table.colours if table is not None else {}
                )
                for sample in samples
                for table in (own[sample.id],)
            }
    return {name: table if table is not None else plain for name, table in own.items()}


def _complete(answer_HW: np.ndarray, truth_HW: np.ndarray, file: Path) -> np.ndarray:
    """The answer, if it has a class for each pixel that counts; class 0 for the others."""
    open_HW = answer_HW == IGNORED
    lacking = int((open_HW & (truth_HW != IGNORED)).sum())
    if lacking:
        raise DataError(
            f"the mask gives no class to {lacking} pixels that count",
            whose=str(file),
            fix="give each pixel a class",
            code="data/unclassed-pixels",
        )
    return np.where(open_HW, 0, answer_HW)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _few(names: Iterable[str]) -> str:
    return few(sorted(names), _NAMED)
