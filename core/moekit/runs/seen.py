"""Which images were learned from, by the hash of their content: a list kept with what was learned.

```
RUN/
  train_images.txt  the SHA-256 of each training image, also of runs that it began with
  val_images.txt    likewise of each validation image
```
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit.data.content import Contents
from moekit.data.samples import SPLITS, Sample
from moekit.errors import DataError
from moekit.files import atomic_text, read_text, sha256
from moekit.runs.run import Run
from moekit.text import first_line

_LEARNED = SPLITS[:2]
_FILE = "{}_images.txt"
_HASH = re.compile(r"[0-9a-f]{64}")


def write_images(path: Path, hashes: Iterable[str]) -> str:
    """Writes hashes of images; returns the SHA-256 of the file."""
    with atomic_text(path) as file:
        file.writelines(f"{one}\n" for one in sorted(set(hashes) - {""}))
    return sha256(path)


def read_images(path: Path, expected: str) -> frozenset[str]:
    """The hashes of images in a file.

    Args:
        path: The file.
        expected: Its own SHA-256.

    Raises:
        DataError: The file is gone or is another one.
    """
    try:
        same = sha256(path) == expected
        hashes = read_text(path).split() if same else []
    except (OSError, UnicodeDecodeError) as error:
        raise _lost(path, first_line(error)) from error
    if not same or not all(_HASH.fullmatch(one) for one in hashes):
        raise _lost(path, "it is not the file that was written")
    return frozenset(hashes)


def count_seen(samples: Sequence[Sample], seen: Collection[str], contents: Contents) -> int:
    """How many samples were seen.

    Args:
        samples: Of the data.
        seen: Hashes of the images that were seen.
        contents: Hashes of the files; none is read if nothing was seen.
    """
    return sum(contents.of(one.path) in seen for one in samples) if seen else 0


def keep_learned(
    run: Run, images: Mapping[str, Iterable[str]], *, earlier: Sequence[Run] = ()
) -> dict[str, Any]:
    """Writes which images a run learned from; returns what its record says of it.

    Args:
        run: The run.
        images: Hashes of its images of `train` and `val`.
        earlier: Runs that it was made from; what they learned from counts as well.

    Raises:
        DataError: The list of an earlier run is damaged.
    """
    before = [learned_by(one) for one in earlier]
    kept = {}
    for split in _LEARNED:
        hashes = set(images.get(split, ())).union(*(one[split] for one in before if one))
        found = write_images(run.folder / _FILE.format(split), hashes)
        kept[split] = {"images": len(hashes - {""}), "images_sha256": found}
    return {"learned": {**kept, "complete": all(one is not None for one in before)}}


def learned_by(run: Run) -> dict[str, frozenset[str]] | None:
    """The hashes of the images that a run learned from, of `train` and `val`.

    None if the run does not say it, or a run that it was made from does not, or its lists were not
    handed on with it.

    Raises:
        DataError: A list is changed.
    """
    known = run.read().get("learned")
    paths = {split: run.folder / _FILE.format(split) for split in _LEARNED}
    if not known or not known["complete"] or not all(path.is_file() for path in paths.values()):
        return None
    return {
        split: read_images(path, known[split]["images_sha256"]) for split, path in paths.items()
    }


def _lost(path: Path, why: str) -> DataError:
    return DataError(
        f"which images were learned from cannot be read ({why})",
        whose=str(path),
        fix="restore the file, or make it again",
        code="data/changed-file",
    )
