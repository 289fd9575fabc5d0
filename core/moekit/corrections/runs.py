"""Run lengths of outlines, checked and made equal if their pixels are, without drawing them.

Pixels are numbered column by column, as in COCO's run lengths (Lin et al. 2014, arXiv:1405.0312).

Shapes: n runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moekit.errors import DataError
from moekit.tasks.segment.rle import compress_runs, expand_runs


def runs_of(counts: Sequence[int] | str, size: tuple[int, int]) -> np.ndarray:
    """(n, 2) first pixel of each run and the one behind its last, in order; none touch.

    Args:
        counts: Run lengths, zeros first, or their compressed text.
        size: (H, W) of the image.

    Raises:
        DataError: They are damaged, or do not fill the image.
    """
    lengths = expand_runs(counts) if isinstance(counts, str) else list(counts)
    pixels = size[0] * size[1]
    if min(lengths, default=0) < 0 or max(lengths, default=0) > pixels or sum(lengths) != pixels:
        raise DataError(
            f"run lengths do not fill an image of {size[1]} x {size[0]} pixels",
            whose="a mask as run lengths",
            fix="write the file again",
            code="data/run-lengths",
        )
    edges = np.cumsum(np.asarray(lengths, dtype=np.int64))[: len(lengths) // 2 * 2]
    runs = edges.reshape(-1, 2)
    runs = runs[runs[:, 1] > runs[:, 0]]
    if not len(runs):
        return runs
    apart = runs[1:, 0] > runs[:-1, 1]
    first, last = np.append(True, apart), np.append(apart, True)
    return np.stack([runs[first, 0], runs[last, 1]], axis=1)


def text_of(runs: np.ndarray, size: tuple[int, int]) -> str:
    """The compressed text of (n, 2) runs."""
    edges = np.concatenate([[0], runs.reshape(-1), [size[0] * size[1]]])
    counts: list[int] = np.diff(edges).tolist()
    return compress_runs(counts if counts[-1] or len(counts) == 1 else counts[:-1])


def box_around(runs: np.ndarray, size: tuple[int, int]) -> list[float]:
    """Left, top, width and height of the pixels of (n, 2) runs, one at least."""
    column, row = np.divmod(runs - (0, 1), size[0])
    spans = column[:, 1] > column[:, 0]
    left, right = int(column[0, 0]), int(column[-1, 1])
    top = int(np.where(spans, 0, row[:, 0]).min())
    bottom = int(np.where(spans, size[0] - 1, row[:, 1]).max())
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]
