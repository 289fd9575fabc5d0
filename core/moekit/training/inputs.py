"""The inputs of samples, for heads that look at the picture in each step."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from moekit.data.samples import Sample
from moekit.data.stream import Preprocess, Stack, cropped

KEPT_BYTES = 2**27
"""Bytes that inputs take in memory; beyond them those that were not asked for longest go."""


class Inputs:
    """Normalised inputs by the rows of their samples, decoded once as far as memory allows.

    Args:
        samples: In the order of the rows.
        preprocess: How their files are read.
    """

    def __init__(self, samples: Sequence[Sample], preprocess: Preprocess) -> None:
        self._samples, self._preprocess = samples, preprocess
        self._kept: collections.OrderedDict[int, Tensor] = collections.OrderedDict()
        self._bytes = 0
        # Windows of one picture mostly follow each other.
        self._whole = functools.lru_cache(1)(self._read)

    def __getitem__(self, row: int) -> Tensor:
        """(3, H, W) float32, or (T, 3, H, W) of a stack; not to be changed.

        Raises:
            ImageError: The file cannot be read.
        """
        found = self._kept.get(row)
        if found is not None:
            self._kept.move_to_end(row)
            return found
        sample = self._samples[row]
        if sample.window is None:
            stack = self._read(sample.path)
        else:
            stack = cropped(self._whole(sample.path), sample.window)
        made = self._preprocess.stack(stack)
        self._kept[row] = made
        self._bytes += made.nbytes
        while self._bytes > KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.nbytes
        return made

    def _read(self, path: Path) -> Stack:
        return self._preprocess.read(path)[0]
