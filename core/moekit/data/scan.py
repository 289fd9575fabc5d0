"""What is guessed of the files of a set, found out before they are used.

Activations of a picture may be stored from an earlier run, and then its file is not decoded again;
so a run that must tell what was guessed looks at the files themselves.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable
from pathlib import Path

from moekit.data.images import read_remarked
from moekit.data.pillow_rules import opened_header
from moekit.data.remarks import Remark, RemarkTally, is_plain
from moekit.data.samples import Dataset, Sample
from moekit.errors import ImageError

_THREADS = 4
MOST = 500
"""Files that are decoded to find out what they hold; of more, as many at equal distances."""


def remarks_on(
    samples: Iterable[Sample], *, frames: int = 1, bits: int | None = None
) -> tuple[str, ...]:
    """Sentences on what is guessed or left out when the files of samples are read.

    The header of each file is read. Only those that are not plain 8-bit pictures are decoded.
    Files that cannot be read are left out: readers report them.

    Args:
        samples: Any order.
        frames: T, the frames that each has.
        bits: As of `read_frames`.
    """
    names: dict[Path, str] = {}
    for sample in samples:
        names.setdefault(sample.path, sample.id)
    tally = RemarkTally()
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        plain = pool.map(lambda path: _is_plain(path, frames), names)
        odd = [path for path, is_so in zip(names, plain, strict=True) if not is_so]
        count = min(len(odd), MOST)
        chosen = [odd[place * len(odd) // count] for place in range(count)]
        remarks = pool.map(lambda path: _remarks(path, frames, bits), chosen)
        for path, found in zip(chosen, remarks, strict=True):
            tally.add(names[path], found)
    told = tally.sentences()
    if told and count < len(odd):
        told = (*told, f"{count} of {len(odd)} such pictures were looked at for this")
    return told


def notes_on(
    dataset: Dataset, splits: Iterable[str] = ("train", "val"), *, bits: int | None = None
) -> tuple[str, ...]:
    """What was guessed of a set: by its loader, and of the files of these splits themselves."""
    used = [sample for name in splits for sample in dataset.split(name)]
    return (*dataset.notes, *remarks_on(used, frames=dataset.frames, bits=bits))


def _is_plain(path: Path, frames: int) -> bool:
    """Whether nothing can be guessed of a file, by its header."""
    try:
        with opened_header(path) as image:
            return is_plain(image, single=frames == 1)
    except Exception:  # parsers of damaged bytes raise nearly anything
        return True


def _remarks(path: Path, frames: int, bits: int | None) -> tuple[Remark, ...]:
    try:
        return read_remarked(path, frames, bits=bits)[1]
    except ImageError:
        return ()
