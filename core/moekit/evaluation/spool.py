"""Reduced pictures of a split, kept until it is known which of them are drawn."""

from __future__ import annotations

import concurrent.futures
import io
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from moekit.errors import StorageError

IN_MEMORY = 2**26
"""Bytes that pictures take in memory; beyond them they lie in a file."""
_QUALITY = 90


class PictureSpool:
    """Pictures in the order in which they came, as JPEG. A context that forgets them.

    They are written by a thread of its own, one call of `add` at most behind the caller. What does
    not fit into `IN_MEMORY` bytes goes to a file without a name, which ends with the process too.

    Args:
        folder: Where that file lies; made with the first pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(folder))  # noqa: SIM115
        self._ends = [0]
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._pending: concurrent.futures.Future[None] | None = None
        self._reading = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        self._file.close()

    def __len__(self) -> int:
        self._wait()
        return len(self._ends) - 1

    def add(self, pictures: Sequence[Image.Image]) -> None:
        """Takes RGB pictures.

        Raises:
            StorageError: Those of an earlier call could not be written.
        """
        self._wait()
        self._pending = self._pool.submit(self._write, pictures)

    def __getitem__(self, number: int) -> Image.Image:
        """A picture by its number, counted from 0; of any thread.

        Raises:
            StorageError: It could not be written.
        """
        self._wait()
        begin, end = self._ends[number], self._ends[number + 1]
        with self._reading:
            self._file.seek(begin)
            encoded = self._file.read(end - begin)
        return Image.open(io.BytesIO(encoded), formats=["JPEG"])

    def _wait(self) -> None:
        if self._pending is None:
            return
        try:
            self._pending.result()
        except OSError as error:
            raise StorageError(
                f"reduced pictures cannot be kept ({error.strerror or error})",
                whose=str(self._folder),
                fix="free space, and evaluate again",
                code="storage/no-space",
            ) from error

    def _write(self, pictures: Sequence[Image.Image]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            encoded = io.BytesIO()
            picture.save(encoded, format="JPEG", quality=_QUALITY)
            self._file.seek(self._ends[-1])
            self._file.write(encoded.getbuffer())
            self._ends.append(self._file.tell())
