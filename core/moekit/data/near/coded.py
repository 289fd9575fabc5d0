"""Pictures with their codes, and prepared for comparisons by pixels and by spectra.

Shapes: N pictures, V variants of each, W width of a code, S side of a spectrum.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from PIL import Image

from moekit.data.images import read_frames
from moekit.data.near.register import PreparedPicture
from moekit.data.near.spectrum import SIDE, spectrum
from moekit.data.samples import Sample
from moekit.errors import MoekitError

SPECTRA = 3000
"""Most pictures, of both lists, that are read for their spectra."""
_THREADS = min(8, os.cpu_count() or 1)
Picture = Callable[[], Image.Image]
_HELD = 256
_NO_SPECTRUM = np.full((SIDE, SIDE), np.nan, dtype=np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coded:
    """Samples with their codes.

    Attributes:
        samples: N samples.
        codes_NVW: float16 codes, the first variant of the picture as it is.
        frames: Frames of a sample, of which the middle one is compared.
        bits: As of `read_frames`.
        kept: Gives reduced pictures by the row of their sample; they are read if None.
    """

    samples: Sequence[Sample]
    codes_NVW: np.ndarray
    frames: int = 1
    bits: int | None = None
    kept: Callable[[int], Image.Image] | None = None

    def picture(self, row: int) -> Image.Image:
        """The picture of a sample.

        Raises:
            ImageError: It cannot be read.
            StorageError: The reduced one cannot.
        """
        if self.kept is not None:
            return self.kept(row)
        pictures = read_frames(self.samples[row].path, self.frames, bits=self.bits)
        return pictures[len(pictures) // 2]


class PreparedPictures:
    """The pictures of two lists, prepared when they are first asked for; the last ones are held.

    A context, whose end ends the threads that read and compare them.
    """

    def __init__(self, first: Coded, second: Coded) -> None:
        self.lists = (first, second)
        self.pool = concurrent.futures.ThreadPoolExecutor(_THREADS)
        self._held = functools.lru_cache(_HELD)(self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    @property
    def by_spectra(self) -> bool:
        """Whether all pictures are read for their spectra."""
        return sum(len(one.samples) for one in self.lists) <= SPECTRA

    def of(self, side: int, row: int) -> PreparedPicture | None:
        """A picture; None if it cannot be read now."""
        return self._held(side, row)

    def spectra(self, side: int, on_read: Callable[[], None]) -> np.ndarray:
        """(N, S, S) spectra of a list, without a number if a picture cannot be compared."""

        def of(row: int) -> np.ndarray:
            picture = self._read(side, row)
            usable = picture is not None and picture.is_usable
            return spectrum(picture) if picture is not None and usable else _NO_SPECTRUM

        rows = range(len(self.lists[side].samples))
        found = []
        for one in self.pool.map(of, rows):
            found.append(one)
            on_read()
        return np.stack(found) if found else _NO_SPECTRUM[None][:0]

    def _read(self, side: int, row: int) -> PreparedPicture | None:
        try:
            return PreparedPicture(self.lists[side].picture(row))
        except (MoekitError, OSError):
            return None
