"""Runs a plugin's function so that the process is afterwards what it was.

Listeners run in this process and not in one of their own: trackers keep their handle from the start
of a run to its end, hooks of a notebook live nowhere else, and a process that imports torch again
takes seconds for each event. What a function may change by a line of code is put back instead: the
working folder, the umask, the environment, handlers of signals, filters of warnings, the root
logger, random states, torch's settings and standard output. `os._exit` ends no command either.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any, TextIO, cast

from moekit.plugins.settings_kept import EVERYTHING
from moekit.text import printable

_MOST_LINES = 50


class Caught:
    """What a guarded function wrote to standard output and standard error."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def lines(self) -> list[str]:
        """The first 50 lines, without control characters, and how many more there are."""
        found = [printable(line) for line in "".join(self.parts).splitlines() if line.strip()]
        more = len(found) - _MOST_LINES
        return [*found[:_MOST_LINES], *([f"({more} more lines)"] if more > 0 else [])]


@contextlib.contextmanager
def guarded() -> Iterator[Caught]:
    """Puts back at its end what the block changed in the process; yields what the block wrote.

    Threads that the block starts, and a kill signal, are out of reach.
    """
    caught = Caught()
    with contextlib.ExitStack() as stack:
        for keep in EVERYTHING:
            stack.callback(keep())
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_no_exit())
        stack.enter_context(_output(caught))
        yield caught


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """`os._exit` of this process raises `SystemExit`; that of a fork of it works as ever."""
    real, process = os._exit, os.getpid()

    def leave(code: int) -> None:
        if os.getpid() != process:
            real(code)
        raise SystemExit(code)

    os._exit = cast(Any, leave)
    try:
        yield
    finally:
        os._exit = real


class _Stream(io.TextIOBase):
    """Takes what one thread writes; what others write goes where it went before."""

    def __init__(self, caught: Caught, before: TextIO) -> None:
        self._caught, self._before = caught, before
        self._thread = threading.get_ident()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of what is written as text."""
        return "utf-8"

    @property
    def buffer(self) -> _Bytes:
        """Takes bytes."""
        return _Bytes(self)

    def fileno(self) -> int:
        """The descriptor of the stream whose place this one has."""
        return self._before.fileno()

    def write(self, text: str) -> int:
        """Takes text."""
        if threading.get_ident() == self._thread:
            self._caught.parts.append(str(text))
            return len(text)
        return self._before.write(text)

    def flush(self) -> None:
        """Flushes the stream of the other threads."""
        if threading.get_ident() != self._thread:
            self._before.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Stays open: it is nobody's to close."""


class _Bytes:
    """The bytes of a stream of text."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        """Takes UTF-8; what is none becomes replacement characters."""
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def flush(self) -> None:
        """Flushes the stream of the other threads."""
        self._stream.flush()


@contextlib.contextmanager
def _output(caught: Caught) -> Iterator[None]:
    """Takes what the thread writes to both streams, and what processes write to descriptor 1."""
    before = sys.stdout, sys.stderr
    with _descriptor(caught):
        sys.stdout, sys.stderr = (cast(TextIO, _Stream(caught, stream)) for stream in before)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _descriptor(caught: Caught) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            sys.stdout.flush()
            kept = os.dup(1)
        except (OSError, ValueError):  # standard output is closed
            yield
            return
        stack.callback(os.close, kept)
        file = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(file.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            file.seek(0)
            caught.parts.append(file.read(2**20).decode("utf-8", "replace"))
