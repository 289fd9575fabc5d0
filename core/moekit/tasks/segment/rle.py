"""Run lengths of masks, as COCO writes them.

Pixels are read column by column; runs of zeros and ones take turns, zeros first. The compressed
form is the text of pycocotools 2.0 (`rleToString`): each run less the one two before it, in groups
of five bits.

Shapes: H and W rows and columns of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from moekit.errors import DataError


class RunLengths(TypedDict):
    """A mask as COCO writes it.

    Attributes:
        size: H and W.
        counts: Lengths of runs, or their compressed text.
    """

    size: list[int]
    counts: list[int] | str


def encode(mask_HW: np.ndarray, *, compressed: bool = True) -> RunLengths:
    """Run lengths of a mask.

    Args:
        mask_HW: (H, W), true if it is not zero.
        compressed: Whether `counts` is text.
    """
    flat = np.asarray(mask_HW, dtype=bool).reshape(-1, order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs = np.diff(edges).tolist()
    if flat.size and flat[0]:
        runs = [0, *runs]
    height, width = mask_HW.shape
    return RunLengths(size=[height, width], counts=compress_runs(runs) if compressed else runs)


def decode(runs: RunLengths) -> np.ndarray:
    """(H, W) bool of run lengths in either form.

    Raises:
        DataError: The text is damaged, or the runs do not fill the mask.
    """
    height, width = runs["size"]
    counts = runs["counts"]
    lengths = expand_runs(counts) if isinstance(counts, str) else list(counts)
    if sum(lengths) != height * width or min(lengths, default=0) < 0:
        raise DataError(
            f"runs of {sum(lengths)} pixels do not fill a mask of {height} x {width}",
            whose="a mask as run lengths",
            fix="write the file again",
            code="data/run-lengths",
        )
    values = np.arange(len(lengths)) % 2 == 1
    flat = np.repeat(values, lengths)
    mask: np.ndarray = flat.reshape((height, width), order="F")
    return mask


def compress_runs(counts: Sequence[int]) -> str:
    """The text of run lengths."""
    letters = []
    for place, count in enumerate(counts):
        rest = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = rest & 31
            rest >>= 5
            more = rest != -1 if bits & 16 else rest != 0
            letters.append(chr(48 + (bits | 32 if more else bits)))
    return "".join(letters)


def expand_runs(text: str) -> list[int]:
    """The run lengths of a text.

    Raises:
        DataError: It ends in the middle of a number, or holds other letters.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64:
            raise _damaged(f"the letter {letter!r}")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise _damaged("an unfinished number")
    return counts


def _damaged(what: str) -> DataError:
    return DataError(
        f"the run lengths hold {what}",
        whose="a mask as run lengths",
        fix="write the file again",
        code="data/run-lengths",
    )
