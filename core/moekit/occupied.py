"""One command at a time writes into a folder; another one is refused before it does anything."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from moekit.errors import StorageError, UsageError
from moekit.files import cannot_write, try_lock

__all__ = ["LOCK", "alone_in", "occupied"]

LOCK = ".moekit.lock"
"""Lies in the folder while a command writes there. Its lock ends with the process, however it ends;
a file that is left by one that was killed is in nobody's way."""
_TRIES = 100
P = ParamSpec("P")
R = TypeVar("R")
_of_thread = threading.local()


def alone_in(
    argument: str, *, make: bool = True, called: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function the only one that writes into a folder; see `occupied`.

    Args:
        argument: Name of its argument that holds the folder.
        make: As of `occupied`.
        called: What errors call the folder whose path tells too much; its path if None.
    """

    def wrapped(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with contextlib.ExitStack() as stack:
                folder = signature.bind(*args, **kwargs).arguments[argument]
                try:
                    stack.enter_context(occupied(folder, make=make))
                except (StorageError, UsageError) as error:
                    if called is None:
                        raise
                    raise type(error)(
                        error.what, whose=called, fix=error.fix, code=error.code
                    ) from None
                return function(*args, **kwargs)

        return call

    return wrapped


@contextlib.contextmanager
def occupied(folder: Path, *, make: bool = True) -> Iterator[None]:
    """Keeps other commands from writing into a folder until the block ends.

    A thread that has the folder already goes on. Of a training in several processes the first one
    has it for all.

    Args:
        folder: The folder.
        make: Whether one that is not there is made; it is removed again if nothing else came into
            it. If not, there is nothing to keep others from.

    Raises:
        StorageError: The folder cannot be made or written.
        UsageError: Another command is writing there.
    """
    follows = int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) > 0
    mine: set[str] = vars(_of_thread).setdefault("folders", set())
    name = os.path.realpath(folder)
    if follows or name in mine or not (make or folder.is_dir()):
        yield
        return
    made: list[Path] = []
    try:
        made += _make(folder)
        handle = _locked(folder / LOCK)
        mine.add(name)
        try:
            yield
        finally:
            mine.discard(name)
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()  # while it is locked, so that it is nobody else's
            os.close(handle)
    finally:
        for one in made:
            with contextlib.suppress(OSError):  # something lies in it
                one.rmdir()


def _make(folder: Path) -> list[Path]:
    """Makes a folder; returns those that were not there, the innermost first."""
    missing: list[Path] = []
    at = folder
    while not os.path.lexists(at):
        missing.append(at)
        at = at.parent
    for _ in range(_TRIES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return missing
        except (FileExistsError, FileNotFoundError) as error:  # another one removes it just now
            fault: OSError = error
        except OSError as error:
            fault = error
            break
    raise cannot_write("folder", folder, fault) from fault


def _locked(path: Path) -> int:
    """An open descriptor of the lock file, locked."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # whoever had made the folder has just removed it
            _make(path.parent)
            continue
        except OSError as error:
            raise cannot_write("folder", path.parent, error) from error
        if not try_lock(handle):
            os.close(handle)
            raise UsageError(
                "another command is writing to the folder",
                whose=str(path.parent),
                fix="wait for it or end it, or choose another folder",
                code="usage/folder-in-use",
            )
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # whoever held it has just removed it
