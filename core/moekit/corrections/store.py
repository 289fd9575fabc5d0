"""The folder of corrections of one kit, which several servers may write to at once.

```
FOLDER/KIT/
  corrections.json   the terms: kit, task, classes, form
  journal.jsonl      every correction, in order, also those that were superseded
  images/SHA256.png  the images by the hash of their bytes
  masks/SHA256.png   masks by the hash of theirs
  labels.csv         the corrections that hold now, for a class of each image; or
  instances.json     the same for objects, in COCO's format; or
  index.csv          the same for masks, with classes.csv
```

The journal is the truth; what holds now is written from it and can be written again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moekit.corrections.kept import JOURNAL, Kept, Log
from moekit.corrections.labels import ClassLabel, MaskLabel, ObjectsLabel, as_png, checked
from moekit.corrections.tables import write_labels
from moekit.corrections.terms import Terms, open_terms
from moekit.data.pillow_rules import FORMATS
from moekit.errors import UsageError
from moekit.files import atomic_path, locked
from moekit.json_text import to_json
from moekit.runs.facts import now

IMAGES, MASKS = "images", "masks"
_LABELS = "labels"
"""What its lock is named after: only one process writes labels at a time."""
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "PPM": ".ppm"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Correction:
    """A correction as it comes.

    Attributes:
        content: The bytes of the image file, which can be read.
        size: (H, W) of the upright image.
        label: What is said of it.
        confirmed: Whether it is the answer itself, confirmed.
        by: Who says so; empty if nobody said.
        source: What it comes from; empty for the interface.
        group: What the image belongs to; empty if nobody said.
        receipt: What the corrected answer rests on.
        key: The client's own name for the request; empty for none.
    """

    content: bytes
    size: tuple[int, int]
    label: ClassLabel | ObjectsLabel | MaskLabel
    confirmed: bool = False
    by: str = ""
    source: str = ""
    group: str = ""
    receipt: Mapping[str, Any] | None = None
    key: str = ""

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the image file's bytes."""
        return hashlib.sha256(self.content).hexdigest()


class Store:
    """The corrections of one kit. For threads, and for several processes at once.

    Args:
        folder: The kit's own folder.
        terms: What its corrections are.

    Raises:
        DataError: The folder holds corrections in other terms, or is damaged.
        StorageError: It cannot be written.
    """

    def __init__(self, folder: Path, terms: Terms) -> None:
        self.folder = folder
        self.terms = terms
        self._log = Log(folder / JOURNAL)
        self._current: dict[str, Kept] = {}
        self._keys: dict[str, Kept] = {}
        self._count = 0
        self._written = 0
        self._thread, self._writing = threading.Lock(), threading.Lock()
        with self._thread, locked(folder / JOURNAL):
            open_terms(folder, terms)
            self._catch_up()
        if self._current:  # a kill may have come between the journal and the labels
            self.write()

    def add(self, correction: Correction, *, labels: bool = True) -> tuple[Kept, bool]:
        """Keeps a correction, unless the same holds already.

        Args:
            correction: What is said.
            labels: Whether the file of labels is written too; else by `write`.

        Returns:
            The correction as it is kept, and whether it is new.

        Raises:
            DataError: It does not fit the image or the kit.
            StorageError: It cannot be written.
            UsageError: Its key is that of another correction.
        """
        found = checked(correction.label, correction.size, self.terms)
        picture = correction.sha256
        mask = as_png(found) if isinstance(found, np.ndarray) else b""
        if mask:
            name = f"{MASKS}/{hashlib.sha256(mask).hexdigest()}.png"
            found = {"form": "mask", "mask": name}
        said = {
            "image": picture,
            "label": found,
            "confirmed": correction.confirmed,
            "by": correction.by,
            "group": correction.group,
            "receipt": correction.receipt,
        }
        digest = hashlib.sha256(to_json(said, sort_keys=True).encode()).hexdigest()
        with self._thread, locked(self.folder / JOURNAL):
            self._catch_up()
            same = self._same(digest, picture, correction.key)
            kept = same or self._append(correction, digest, found, mask)
        if labels:
            self._write(kept.number)
        return kept, same is None

    def write(self) -> None:
        """Writes the file of labels."""
        self._write(None)

    def _write(self, number: int | None) -> None:
        """Writes the file of labels, unless another request has: one writes for all that wait.

        Args:
            number: Of the correction that it must hold; all that there are if None.
        """
        with self._writing, locked(self.folder / _LABELS):
            if number is not None and self._written >= number:
                return
            with self._thread, locked(self.folder / JOURNAL):
                self._catch_up()
                current, count = list(self._current.values()), self._count
            write_labels(self.folder, self.terms, current)
            self._written = count

    def _append(self, correction: Correction, digest: str, label: Any, mask: bytes) -> Kept:
        """Keeps a correction with its files; labels are written after it."""
        picture = correction.sha256
        before = self._current.get(picture)
        kept = Kept(
            id=digest,
            number=self._count + 1,
            image=picture,
            file=f"{IMAGES}/{picture}{_suffix(correction.content)}",
            size=correction.size,
            label=label,
            confirmed=correction.confirmed,
            at=now(),
            by=correction.by,
            source=correction.source,
            group=correction.group,
            receipt=correction.receipt,
            key=correction.key,
            supersedes="" if before is None else before.id,
        )
        self._keep_file(kept.file, correction.content)
        if mask:
            self._keep_file(label["mask"], mask)
        self._log.append(kept)
        self._take(kept)
        return kept

    def current(self) -> dict[str, Kept]:
        """The corrections that hold now, by the SHA-256 of their images."""
        with self._thread, locked(self.folder / JOURNAL):
            self._catch_up()
            return dict(self._current)

    def summary(self) -> dict[str, Any]:
        """How many corrections there are, and of how many images."""
        current = self.current()
        splits = [one.split for one in current.values()]
        return {
            "corrections": self._count,
            "images": len(current),
            "confirmed": sum(one.confirmed for one in current.values()),
            "held_out": sum(split != "train" for split in splits),
        }

    def _same(self, digest: str, picture: str, key: str) -> Kept | None:
        """What is kept already of a request that comes again."""
        known = self._keys.get(key) if key else None
        if known is not None:
            if known.id != digest:
                raise UsageError(
                    "another correction was sent with this key",
                    whose="the key",
                    fix="give each correction a key of its own; a key is for sending one again",
                    code="usage/other-correction",
                )
            return known
        before = self._current.get(picture)
        return before if before is not None and before.id == digest else None

    def _catch_up(self) -> None:
        for kept in self._log.news():
            self._take(kept)

    def _take(self, kept: Kept) -> None:
        self._count += 1
        # What was said last comes last.
        self._current.pop(kept.image, None)
        self._current[kept.image] = kept
        if kept.key:
            self._keys[kept.key] = kept

    def _keep_file(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if path.exists() and path.stat().st_size == len(content):
            return
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def _suffix(content: bytes) -> str:
    """The ending of an image file, by its content."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        kind = image.format or ""
    return _SUFFIXES.get(kind, f".{kind.lower()}")
