"""A journal: one JSON line a result, appended and flushed, so that a killed command goes on.

Its first line says what the results depend on. A last line that a kill cut off counts for nothing
and is taken away before the next one is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from moekit.errors import DataError, StorageError, UsageError
from moekit.files import check_plain, parse_json, to_json, try_lock


def read_journal(path: Path, provenance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the finished rows; nothing if there is no journal.

    Args:
        path: The journal.
        provenance: What the rows must depend on.

    Raises:
        DataError: It cannot be read, or is no file.
        UsageError: The journal was begun with another provenance; raised with the first row.
    """
    if not path.exists():
        return
    with _opened(path) as file:
        if not _is_of(file.readline(), provenance):
            raise UsageError(
                "the folder holds predictions of another run, threshold or backbone",
                whose=str(path.parent),
                fix="choose another --out",
                code="usage/other-run",
            )
        for line in file:
            row = _parse(line)
            if isinstance(row, dict) and line.endswith(b"\n"):
                yield row


def _opened(path: Path) -> BinaryIO:
    try:
        check_plain(path)
        return path.open("rb")
    except OSError as error:
        raise DataError(
            f"the earlier answers cannot be read ({error.strerror or error})",
            whose=str(path),
            fix="restore the file, or choose another --out",
            code="data/unreadable",
        ) from error


class Journal:
    """A journal that `read_journal` has read, to append rows. A context that closes it.

    A line that was cut off is taken away when it is opened. One journal at a time writes to a file.

    Args:
        path: The file; it and its folder are made if they are not there.
        provenance: Its first line.

    Raises:
        StorageError: It cannot be written.
        UsageError: Another command is writing to it.
    """

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        self._path = path
        with self._storage():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what could not be written is not tried again when the file is closed.
            self._file = path.open("ab+", buffering=0)
            self._lock()
            _cut_last_line(self._file)
        if self._file.tell() == 0:
            self.append([provenance])

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows and hands them to the operating system.

        Raises:
            StorageError: They cannot be written.
        """
        left = "".join(to_json(dict(row)) + "\n" for row in rows).encode()
        with self._storage():
            while left:
                left = left[self._file.write(left) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _lock(self) -> None:
        """Keeps other commands out until the file is closed, by whatever it is closed."""
        if not try_lock(self._file):
            self._file.close()
            raise UsageError(
                "another command is writing to the folder",
                whose=str(self._path.parent),
                fix="wait for it or end it, or choose another --out",
                code="usage/folder-in-use",
            )

    @contextlib.contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"the predictions cannot be written ({error.strerror or error})",
                whose=str(self._path),
                fix="free space or choose another --out; the same command then goes on",
                code="storage/cannot-write",
            ) from error


def _is_of(first: bytes, provenance: Mapping[str, Any]) -> bool:
    """Whether a first line says the provenance, or was cut off while it was written."""
    if first.endswith(b"\n"):
        return bool(_parse(first) == dict(provenance))
    return to_json(dict(provenance)).encode().startswith(first)


def _parse(line: bytes) -> Any:
    try:
        return parse_json(line.decode("utf-8"))
    except ValueError:
        return None


def _cut_last_line(file: BinaryIO, *, step: int = 65536) -> None:
    """Cuts a file after its last line end and leaves its position there."""
    end = file.seek(0, 2)
    while end > 0:
        begin = max(0, end - step)
        file.seek(begin)
        place = file.read(end - begin).rfind(b"\n")
        if place >= 0:
            end = begin + place + 1
            break
        end = begin
    file.truncate(end)
    file.seek(end)
