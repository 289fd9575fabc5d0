"""The error tree: every failure moekit foresees, with whose it is and what to do.

```
MoekitError                exit 1   a stated condition failed
├── UsageError             exit 2   the call itself is wrong
├── PluginError            exit 3   a plugin is missing, broken or lies about itself
├── DataError              exit 4   the data, or a file of a run, cannot be used
│   └── ImageError         exit 4   one image cannot be read
├── WeightsError           exit 4   weights are missing or not what their hash says
└── StorageError           exit 1   a result could not be written
```

Each error has a `code` such as `data/empty-split`: the prefix of its class, and words that stay the
same when its message changes. Programs and tests go by the code, people search for it.
docs/ERRORS.md lists all of them.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from typing import Any

from moekit.text import printable


class MoekitError(Exception):
    """A foreseen failure, shown in three lines.

    Args:
        what: What failed, in one sentence.
        whose: The file, plugin or option that the failure belongs to.
        fix: What the reader can do about it.
        code: Which failure it is, as `PREFIX/some-words` with the prefix of the class. Without one
            it is `PREFIX/other`.
        details: What a program may want to know besides, ready for JSON; --json prints it.
    """

    exit_code = 1
    prefix = "error"

    def __init__(
        self,
        what: str,
        *,
        whose: str,
        fix: str,
        code: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.whose = whose
        self.fix = fix
        self.details = details
        self.code = code or f"{self.prefix}/other"

    def __str__(self) -> str:
        what, whose, fix = map(printable, (self.what, self.whose, self.fix))
        return f"{what} [{self.code}]\n  where: {whose}\n  to do: {fix}"


class UsageError(MoekitError):
    """The call is wrong: an unknown name, a value out of range, options that exclude each other."""

    exit_code = 2
    prefix = "usage"


class PluginError(MoekitError):
    """A plugin is missing, incompatible or broken, or provides something other than it declares."""

    exit_code = 3
    prefix = "plugin"


class DataError(MoekitError):
    """A data set cannot be used as it is: missing, empty, unreadable, leaking or of one class."""

    exit_code = 4
    prefix = "data"


class ImageError(DataError):
    """One image cannot be read. Commands over many images skip it and count it."""

    prefix = "image"


class WeightsError(MoekitError):
    """Weights are missing, truncated, of another architecture or not the hashed bytes."""

    exit_code = 4
    prefix = "weights"


class StorageError(MoekitError):
    """A result could not be written (no space, no permission)."""

    prefix = "storage"


_NOBODYS = (MoekitError, KeyboardInterrupt, MemoryError)
_NO_MEMORY = ("OutOfMemoryError", "can't allocate memory", "not enough memory")


def nobody_reads() -> bool:
    """Whether whoever read standard output or standard error has gone, as `head` does.

    Another pipe that breaks is that of whoever opened it. Where this cannot be asked it is assumed.
    """
    if not hasattr(select, "poll"):
        return True
    asked = select.poll()
    for number in (1, 2):
        asked.register(number, 0)  # errors come without being asked for
    return any(told & (select.POLLERR | select.POLLHUP) for _, told in asked.poll(0))


def is_nobodys(error: BaseException) -> bool:
    """Whether an error says itself whose it is, or is that of the machine or its user."""
    told = f"{type(error).__name__} {error}"
    if isinstance(error, BrokenPipeError):
        return nobody_reads()
    return isinstance(error, _NOBODYS) or any(words in told for words in _NO_MEMORY)
