"""A block of code in which nothing of this process may open a connection."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from moekit import WeightsError

_EVENTS = frozenset(("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"))
_lock = threading.Lock()
_depth = 0
_installed = False


@contextlib.contextmanager
def offline(whose: str) -> Iterator[None]:
    """Makes every attempt to connect inside the block an error, whichever library makes it.

    It holds for all threads of the process. Python's audit hooks see each connection before it is
    made (PEP 578), so no library needs to be known by name.

    Args:
        whose: What the error names.

    Raises:
        WeightsError: Something in the block tried to connect.
    """
    global _depth
    _install()
    with _lock:
        _depth += 1
    try:
        yield
    except Exception as error:
        if any(isinstance(cause, _RefusedError) for cause in _causes(error)):
            raise WeightsError(
                "it wants to download something, and this command downloads nothing",
                whose=whose,
                fix="choose arguments of the model that need no download (see --set), or give the "
                "weights of its backbone with --architecture NAME --weights FILE.safetensors",
                code="weights/needs-download",
            ) from error
        raise
    finally:
        with _lock:
            _depth -= 1


class _RefusedError(Exception):
    """A connection was refused by `offline`."""


def _install() -> None:
    """An audit hook cannot be taken away; it stays and does nothing outside of blocks."""
    global _installed
    with _lock:
        if not _installed:
            sys.addaudithook(_refuse)
            _installed = True


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if _depth and event in _EVENTS and not _is_local(event, arguments):
        raise _RefusedError(event)


def _is_local(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a connection goes to a file of this machine (a Unix socket), not to a network."""
    return event == "socket.connect" and isinstance(arguments[1], str | bytes)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
