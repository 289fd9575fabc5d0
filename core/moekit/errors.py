"""The error tree: every failure moekit foresees, with whose it is and what to do.

```
MoekitError                exit 1   a stated condition failed
├── UsageError             exit 2   the call itself is wrong
├── PluginError            exit 3   a plugin is missing, broken or lies about itself
├── DataError              exit 4   the data cannot be used
│   └── ImageError         exit 4   one image cannot be read
├── WeightsError           exit 1   weights are missing or not what their hash says
└── StorageError           exit 1   a result could not be written
```
"""

from __future__ import annotations


class MoekitError(Exception):
    """A foreseen failure, told in three lines.

    Args:
        what: What failed, in one sentence.
        whose: The file, plugin or option that the failure belongs to.
        fix: What the reader can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, whose: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.whose = whose
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.whose}\n  to do: {self.fix}"


class UsageError(MoekitError):
    """The call is wrong: an unknown name, a value out of range, options that exclude each other."""

    exit_code = 2


class PluginError(MoekitError):
    """A plugin is missing, incompatible or broken, or provides something other than it declares."""

    exit_code = 3


class DataError(MoekitError):
    """A data set cannot be used as it is: missing, empty, unreadable, leaking or of one class."""

    exit_code = 4


class ImageError(DataError):
    """One image cannot be read. Commands over many images skip it and count it."""


class WeightsError(MoekitError):
    """Weights are missing, truncated, of another architecture or not the hashed bytes."""


class StorageError(MoekitError):
    """A result could not be written (no space, no permission)."""
