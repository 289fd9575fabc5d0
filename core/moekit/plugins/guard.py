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
import locale
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from moekit.text import printable

_MOST_LINES = 50
_STATUS = Path("/proc/self/status")


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
        for keep in (
            _folder,
            _umask,
            _environment,
            _signals,
            _modules_state,
            _random_states,
            _numpy_state,
            _torch_state,
            _logging_state,
        ):
            stack.callback(keep())
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_no_exit())
        stack.enter_context(_output(caught))
        yield caught


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Puts back the working folder, the umask and torch's settings, on which others depend."""
    with contextlib.ExitStack() as stack:
        for keep in (_folder, _umask, _torch_state):
            stack.callback(keep())
        yield


Restore = Callable[[], object]


def _folder() -> Restore:
    try:
        here = Path.cwd()
    except OSError:
        return lambda: None
    return lambda: _back_to(here)


def _back_to(folder: Path) -> None:
    with contextlib.suppress(OSError):
        os.chdir(folder)


def _umask() -> Restore:
    mask = read_umask()
    return lambda: os.umask(mask)


def read_umask() -> int:
    """The umask, if the system tells it without setting it; else by setting it for a moment."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _environment() -> Restore:
    before = dict(os.environ)

    def restore() -> None:
        if dict(os.environ) != before:
            os.environ.clear()
            os.environ.update(before)

    return restore


def _signals() -> Restore:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None  # only the main thread can set handlers
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    timer = signal.getitimer(signal.ITIMER_REAL) if hasattr(signal, "getitimer") else None

    def restore() -> None:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if timer == (0.0, 0.0):
            signal.setitimer(signal.ITIMER_REAL, 0)

    return restore


def _modules_state() -> Restore:
    path, arguments, hook, limit = (
        list(sys.path),
        list(sys.argv),
        sys.excepthook,
        sys.getrecursionlimit(),
    )
    numbers = locale.setlocale(locale.LC_NUMERIC)

    def restore() -> None:
        sys.path[:], sys.argv[:], sys.excepthook = path, arguments, hook
        sys.setrecursionlimit(limit)
        locale.setlocale(locale.LC_NUMERIC, numbers)

    return restore


def _random_states() -> Restore:
    state = random.getstate()
    return lambda: random.setstate(state)


def _numpy_state() -> Restore:
    numpy = cast(Any, sys.modules.get("numpy"))
    if numpy is None:
        return lambda: None
    state, errors = numpy.random.get_state(), numpy.geterr()

    def restore() -> None:
        numpy.random.set_state(state)
        numpy.seterr(**errors)

    return restore


def _torch_state() -> Restore:
    torch = cast(Any, sys.modules.get("torch"))
    if torch is None:
        return lambda: None
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
    precision = torch.get_float32_matmul_precision()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    device = torch.get_default_device()
    gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def restore() -> None:
        if torch.get_default_device() != device:
            torch.set_default_device(None if device == torch.device("cpu") else device)
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(gradients)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        if gpu is not None:
            torch.cuda.set_rng_state_all(gpu)

    return restore


def _logging_state() -> Restore:
    root = logging.getLogger()
    level, handlers, off = root.level, list(root.handlers), root.manager.disable

    def restore() -> None:
        root.setLevel(level)
        root.handlers[:] = handlers
        logging.disable(off)

    return restore


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
