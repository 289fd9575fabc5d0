"""What a plugin's function may change in the process by a line of code, and how it is put back.

Functions of tasks, kits and reports run under `settings_kept`, see `moekit.plugins.guarded`. It
costs about a tenth of a millisecond. Calls of experts, gates and metrics are made more often: see
`moekit.moe.owned`.
"""

from __future__ import annotations

import contextlib
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

_STATUS = "/proc/self/status"

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
    with contextlib.suppress(OSError, ValueError, IndexError):
        handle = os.open(_STATUS, os.O_RDONLY)
        try:
            text = os.read(handle, 4096)
        finally:
            os.close(handle)
        return int(text.partition(b"\nUmask:")[2].split(maxsplit=1)[0], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _environment() -> Restore:
    known = cast(Any, os.environ)._data  # as bytes: to decode them takes a hundred times as long
    before = known.copy()

    def restore() -> None:
        if known != before:
            names, values = (getattr(os.environ, f"decode{part}") for part in ("key", "value"))
            os.environ.clear()
            os.environ.update({names(name): values(value) for name, value in before.items()})

    return restore


def _stop_signals() -> Restore:
    """Of those by which users end a command: all of them take too long for each call."""
    return _signals((signal.SIGINT, signal.SIGTERM))


def _signals(numbers: Iterable[int] | None = None) -> Restore:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None  # only the main thread can set handlers
    wanted = signal.valid_signals() if numbers is None else numbers
    before = {number: signal.getsignal(number) for number in wanted}
    timer = signal.getitimer(signal.ITIMER_REAL) if hasattr(signal, "getitimer") else None

    def restore() -> None:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if timer == (0.0, 0.0):
            signal.setitimer(signal.ITIMER_REAL, 0)

    return restore


def _modules_state() -> Restore:
    path, arguments = list(sys.path), list(sys.argv)

    def restore() -> None:
        sys.path[:], sys.argv[:] = path, arguments

    return restore


def _hooks() -> Restore:
    """What shows errors and text: streams, hooks, the recursion limit and the decimal point."""
    streams, shown = (sys.stdout, sys.stderr), (sys.excepthook, threading.excepthook)
    limit, numbers = sys.getrecursionlimit(), locale.setlocale(locale.LC_NUMERIC)

    def restore() -> None:
        sys.stdout, sys.stderr = streams
        sys.excepthook, threading.excepthook = shown
        if sys.getrecursionlimit() != limit:
            sys.setrecursionlimit(limit)
        if locale.setlocale(locale.LC_NUMERIC) != numbers:
            locale.setlocale(locale.LC_NUMERIC, numbers)

    return restore


def _warnings() -> Restore:
    before = list(warnings.filters)

    def restore() -> None:
        if list(warnings.filters) != before:
            cast(Any, warnings).filters[:] = before
            cast(Any, warnings)._filters_mutated()

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
    threads = torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    device = torch.get_default_device()

    def restore() -> None:
        if torch.get_default_device() != device:
            torch.set_default_device(None if device == torch.device("cpu") else device)
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
        if torch.are_deterministic_algorithms_enabled() != strict or (
            torch.is_deterministic_algorithms_warn_only_enabled() != warn_only
        ):
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)

    return restore


def _gradients() -> Restore:
    """Each thread has its own."""
    torch = cast(Any, sys.modules.get("torch"))
    if torch is None:
        return lambda: None
    wanted = torch.is_grad_enabled()
    return lambda: torch.set_grad_enabled(wanted)


def _gpu_state() -> Restore:
    """Apart from the rest, since it waits for the device."""
    torch = cast(Any, sys.modules.get("torch"))
    if torch is None or not torch.cuda.is_initialized():
        return lambda: None
    state = torch.cuda.get_rng_state_all()
    return lambda: torch.cuda.set_rng_state_all(state)


def _logging_state() -> Restore:
    root = logging.getLogger()
    level, handlers, off = root.level, list(root.handlers), root.manager.disable

    def restore() -> None:
        if root.level != level:
            root.setLevel(level)
        if root.handlers != handlers:
            root.handlers[:] = handlers
        if root.manager.disable != off:
            logging.disable(off)

    return restore


_OF_A_CALL = (
    *(_folder, _umask, _environment),
    *(_hooks, _warnings, _torch_state, _logging_state),
)
_OF_A_THREAD = (_stop_signals, _gradients)
"""Only the main thread can set handlers."""
_DRAWS = (_random_states, _numpy_state)
EVERYTHING: Sequence[Callable[[], Restore]] = (
    *(_folder, _umask, _environment, _signals, _modules_state, _hooks),
    *(_random_states, _numpy_state, _torch_state, _gradients, _gpu_state, _logging_state),
)
"""What listeners may not change."""
_OF_AN_IMPORT = (_folder, _umask, _signals, _hooks, *_DRAWS, _torch_state)
"""An import may set variables and filters on which its libraries depend."""


class _Threads:
    """What was there before the first of the calls that run at the same time in several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before: list[Restore] = []
        self.inside = threading.local()


_threads = _Threads()


@contextlib.contextmanager
def settings_kept(*, draws: bool = False) -> Iterator[None]:
    """Puts back what the block changed in the process.

    Settings of the process are one for all threads. Blocks that overlap in time put back what was
    there before the first of them, and a block within another one of its thread what it found.

    Args:
        draws: Whether the block may go on with the random numbers of numpy and Python, as a
            training does, or is called so often that looking after numpy's takes too long. torch's
            are put back in any case, since each step of a training seeds them.
    """
    keepers = _OF_A_CALL if draws else (*_OF_A_CALL, *_DRAWS)
    if getattr(_threads.inside, "depth", 0):
        with _restored([keep() for keep in (*keepers, *_OF_A_THREAD)]):
            yield
        return
    with _threads.lock:
        if not _threads.users:
            _threads.before = [keep() for keep in keepers]
        _threads.users += 1
        before = _threads.before
    _threads.inside.depth = 1
    try:
        with _restored([*before, *(keep() for keep in _OF_A_THREAD)]):
            yield
    finally:
        _threads.inside.depth = 0
        with _threads.lock:
            _threads.users -= 1


@contextlib.contextmanager
def import_kept() -> Iterator[None]:
    """Puts back what the import of a plugin and its hooks may not change for others."""
    with _restored([keep() for keep in _OF_AN_IMPORT]):
        yield


@contextlib.contextmanager
def _restored(before: Sequence[Restore]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for restore in before:
            stack.callback(restore)
        yield
