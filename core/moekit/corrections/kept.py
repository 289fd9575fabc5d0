"""One correction as it is kept, and the journal that keeps all of them, the superseded ones too."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moekit.errors import DataError, StorageError
from moekit.json_text import parse_json, to_json

JOURNAL = "journal.jsonl"
TEST_SHARE, VAL_SHARE = 0.25, 0.15
"""Shares of the corrected images, or groups, that are held out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """A correction of one image.

    Attributes:
        id: SHA-256 of what it says.
        number: Its place in the journal, from 1.
        image: SHA-256 of the image file's bytes.
        file: Name of the image file below the folder.
        size: (H, W) of the upright image.
        label: What it says, as `moekit.corrections.labels.checked` makes it; of a mask its file.
        confirmed: Whether it is the answer itself, confirmed.
        at: When it was made, in ISO 8601 and UTC.
        by: Who made it; empty if nobody said.
        source: What it comes from, such as an import; empty for the interface.
        group: What the image belongs to, such as a part; empty if nobody said.
        receipt: What the corrected answer rests on; None if none was given.
        key: The client's own name for the request; empty if it gave none.
        supersedes: The id of the correction that it takes the place of; empty if it is the first.
    """

    id: str
    number: int
    image: str
    file: str
    size: tuple[int, int]
    label: Mapping[str, Any]
    confirmed: bool
    at: str
    by: str = ""
    source: str = ""
    group: str = ""
    receipt: Mapping[str, Any] | None = None
    key: str = ""
    supersedes: str = ""

    @property
    def split(self) -> str:
        """Its split. It depends on the image, or its group, only: what is held out stays so."""
        return split_of(self.group or self.image)

    def as_json(self) -> dict[str, Any]:
        """The line of the journal."""
        return {**dataclasses.asdict(self), "size": list(self.size)}

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Kept:
        """A correction from its line."""
        height, width = line["size"]
        return cls(**{**line, "size": (int(height), int(width))})


def split_of(name: str) -> str:
    """The split of an image or a group, by the hash of its name.

    A set that grows this way never moves an image from one split to another.
    """
    share = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) / 16**12
    if share < TEST_SHARE:
        return "test"
    return "val" if share < TEST_SHARE + VAL_SHARE else "train"


class Log:
    """The journal of a folder. Its owner holds the folder's lock while it reads and appends.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0

    def news(self) -> list[Kept]:
        """What was appended since the last call, by whichever process.

        A last line that was cut off counts for nothing.

        Raises:
            DataError: A line is damaged, or the file was changed by something else.
        """
        if not self._path.exists():
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(self._end)
                content = file.read()
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        whole = content[: content.rfind(b"\n") + 1]
        found = []
        for line in whole.splitlines():
            try:
                found.append(Kept.of(parse_json(line.decode("utf-8"))))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise self._damaged("a line is none of a correction") from error
        self._end += len(whole)
        return found

    def append(self, kept: Kept) -> None:
        """Appends a line and forces it to the disk.

        Raises:
            StorageError: It cannot be written.
        """
        line = (to_json(kept.as_json()) + "\n").encode()
        try:
            with self._path.open("ab") as file:
                file.truncate(self._end)  # what a kill cut off
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"the correction cannot be written ({error.strerror or error})",
                whose=str(self._path),
                fix="free space; then send the correction again",
                code="storage/cannot-write",
            ) from error
        self._end += len(line)

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"the journal of the corrections cannot be read ({why})",
            whose=str(self._path),
            fix="restore the file from a backup, or name another folder",
            code="data/damaged-corrections",
        )


def corrected_images(folder: Path) -> set[str]:
    """SHA-256 of the images that a folder holds corrections of, of one kit or of several.

    Raises:
        DataError: A journal is damaged, or there is none.
    """
    journals = [one for one in (folder / JOURNAL, *folder.glob(f"*/{JOURNAL}")) if one.is_file()]
    if not journals:
        raise DataError(
            "there is no correction yet",
            whose=str(folder),
            fix="name the folder that `moekit serve --corrections` was given",
            code="data/no-corrections",
        )
    return {one.image for path in journals for one in Log(path).news()}
