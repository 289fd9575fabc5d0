"""Images that people are asked to look at, from the lists that `moekit next` writes."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from moekit.errors import DataError
from moekit.files import read_plain, read_text
from moekit.tables import csv_table

COLUMNS = ("rank", "file", "image_sha256", "verdict", "gain", "why")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listed:
    """An image of a list.

    Attributes:
        path: Where it lies.
        content: SHA-256 of its bytes when the list was made.
        verdict: What the kit answered then.
        gain: What looking at it is expected to bring, from 0 to 1.
        why: The same in words.
    """

    path: Path
    content: str
    verdict: str
    gain: float
    why: str


class ReviewList:
    """The images of one list or several, the most useful first; each image once.

    Args:
        listed: In any order.
        most_bytes: Most bytes of a file.
    """

    def __init__(self, listed: Sequence[Listed], *, most_bytes: int) -> None:
        ordered = sorted(listed, key=lambda one: -one.gain)
        self._listed = {one.content: one for one in reversed(ordered)}
        self.images = [one for one in ordered if self._listed[one.content] is one]
        self._most_bytes = most_bytes

    @classmethod
    def read(cls, paths: Sequence[Path], *, most_bytes: int) -> ReviewList:
        """Reads lists.

        Raises:
            DataError: One cannot be read, or is no such list.
        """
        found = [one for path in paths for one in _read(path)]
        return cls(found, most_bytes=most_bytes)

    def content_of(self, image: str) -> bytes | None:
        """The bytes of a listed image; None if it is not listed, is gone, or was changed."""
        known = self._listed.get(image)
        if known is None:
            return None
        try:
            content = read_plain(known.path, most=self._most_bytes)
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == image else None


def _read(path: Path) -> list[Listed]:
    try:
        text = read_text(path, encoding="utf-8-sig", newline="")
        columns, rows = csv_table(io.StringIO(text, newline=""), strict=True)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, f"it cannot be read ({error})") from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise _bad(path, f"it has no column {missing[0]!r}")
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            gain = float(row["gain"])
        except (TypeError, ValueError):
            gain = math.nan
        whole = all(isinstance(row[name], str) for name in COLUMNS)
        if not (whole and 0 <= gain <= 1 and _HASH.fullmatch(row["image_sha256"])):
            raise _bad(path, f"its row {number} holds no image with its hash and gain")
        found.append(
            Listed(
                path=path.parent / row["file"],
                content=row["image_sha256"],
                verdict=row["verdict"],
                gain=gain,
                why=row["why"],
            )
        )
    return found


def _bad(path: Path, what: str) -> DataError:
    return DataError(
        f"the list of images to look at cannot be used: {what}",
        whose=str(path),
        fix="make the list again by `moekit next`",
        code="data/bad-list",
    )
