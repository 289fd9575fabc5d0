"""The secret that new UIDs and ids are made with."""

from __future__ import annotations

import dataclasses
import os
import secrets
import tempfile
from pathlib import Path

from moekit import StorageError, UsageError

LEAST_BYTES = 16
_NEW_BYTES = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Salt:
    """A secret.

    Attributes:
        data: At least 16 bytes.
        is_new: Whether it was made just now.
    """

    data: bytes = dataclasses.field(repr=False)
    is_new: bool


def read_or_make_salt(path: Path | None, *, out: Path) -> Salt:
    """The salt of a file, which is made if it is not there; a random one without a file.

    Args:
        path: The salt file, readable for its owner only once it is made. White space at its ends
            does not count.
        out: The folder of the copies, in which it may not lie: it would be handed on with them.

    Raises:
        UsageError: The file lies among the copies, cannot be read or holds less than 16 bytes.
        StorageError: It cannot be written.
    """
    if path is None:
        return Salt(data=secrets.token_bytes(_NEW_BYTES), is_new=True)
    if path.resolve().is_relative_to(out.resolve()):
        raise _wrong(
            "it lies in the output folder and would be handed on with the copies",
            code="usage/nested-folders",
        )
    try:
        data = path.read_bytes().strip()
    except FileNotFoundError:
        return Salt(data=_make(path), is_new=True)
    except OSError as error:
        raise _wrong(
            f"it cannot be read ({type(error).__name__})", code="usage/unreadable-salt"
        ) from None
    if len(data) < LEAST_BYTES:
        raise _wrong(
            f"it holds less than {LEAST_BYTES} bytes, which can be guessed", code="usage/short-salt"
        )
    return Salt(data=data, is_new=False)


def _make(path: Path) -> bytes:
    """Writes a new salt, whole or not at all, without a mask that all threads would share."""
    text = secrets.token_hex(_NEW_BYTES)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes files that their owner only can read.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"the salt cannot be written ({error.strerror or type(error).__name__})",
            whose="--salt-file",
            fix="free space, or name a file in a folder that can be written",
            code="storage/cannot-write",
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return text.encode()


def _wrong(what: str, *, code: str) -> UsageError:
    return UsageError(
        f"the salt file is of no use: {what}",
        whose="--salt-file",
        fix="name another file outside of --out; one that is not there yet is made",
        code=code,
    )
