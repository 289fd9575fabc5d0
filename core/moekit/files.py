"""Files that are either whole or absent, and hashes of them (law 7: nothing lost)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from moekit.errors import DataError, StorageError
from moekit.json_text import finite, not_finite, parse_json, to_json
from moekit.names import TEMPORARY, cut_bytes, longest_name
from moekit.xml_text import parse_xml

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "atomic_folder",
    "atomic_path",
    "atomic_text",
    "cannot_write",
    "check_plain",
    "check_writable",
    "finite",
    "locked",
    "not_finite",
    "parse_json",
    "parse_xml",
    "read_json",
    "read_plain",
    "read_text",
    "sha256",
    "sha256_of_files",
    "to_json",
    "try_lock",
    "write_json",
    "write_tensors",
]


LARGEST_TEXT = 2**30
"""Most bytes of a text that is read at once."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary name next to `path`; renames it to `path` once the block succeeded.

    Raises:
        StorageError: The folder cannot be written or the disk is full. `path` is untouched.
    """
    temporary: Path | None = None
    if path.exists() and not path.is_file():
        raise StorageError(
            "this is a folder or a device, not a file",
            whose=str(path),
            fix="choose another name for the output",
            code="storage/not-a-file",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        # The system itself takes the umask off: reading it would change it for other threads.
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
        temporary.chmod(0o600)
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write("file", path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_text(path: Path) -> Iterator[IO[str]]:
    r"""Like `atomic_path`, but yields an open UTF-8 text file.

    Bytes of a file's name that are no text become `\udcNN`, which in JSON means just these bytes:
    one such name loses nothing of what is written next to it.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


@contextlib.contextmanager
def atomic_folder(path: Path, *, mark: str) -> Iterator[Path]:
    """Yields a temporary folder next to `path`, which becomes `path` once the block succeeded.

    Args:
        path: The folder to make. One that holds a file named `mark`, or nothing, is replaced;
            hidden files in it, such as those of a system, stay there.
        mark: The file by which such a folder is known.

    Raises:
        StorageError: The folder cannot be written, the disk is full, or `path` is something else.
            It is untouched.
    """
    if path.exists() and not _is_replaceable(path, mark):
        raise StorageError(
            f"this is no folder, or one with other files and without {mark}",
            whose=str(path),
            fix="choose another name for the output",
            code="storage/foreign-folder",
        )
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        temporary.mkdir()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        temporary.chmod(0o700)
        yield temporary
        for file in temporary.iterdir():
            _flush_to_disk(file)
        temporary.chmod(mode)
        if path.exists():
            _keep_hidden(path, temporary)
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write("folder", path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], *, header: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file, atomically.

    Raises:
        StorageError: It cannot be written. safetensors wraps the system's error in its own.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=dict(header) if header else None)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically.

    Raises:
        MoekitError: A number in it is not finite; see `to_json`.
        StorageError: It cannot be written.
    """
    text = to_json(value, indent=2, ensure_ascii=False)
    with atomic_text(path) as file:
        file.write(text + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        DataError: The file is missing or is not JSON (see `parse_json`).
    """
    try:
        return parse_json(read_plain(path, most=LARGEST_TEXT).decode("utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            "the file does not exist",
            whose=str(path),
            fix="check the path, or make the run again",
            code="data/not-found",
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"the file is not readable JSON ({error})",
            whose=str(path),
            fix="restore the file, or make the run again",
            code="data/bad-json",
        ) from error


def check_plain(path: Path) -> None:
    """Refuses a device or a pipe, which may never end, whether named itself or by a link.

    Raises:
        OSError: It is one, or cannot be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # what opens a folder says so itself
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))


def read_plain(path: Path, *, most: int | None = None) -> bytes:
    """The bytes of a plain file, or of one that a link leads to.

    Args:
        path: The file.
        most: Most bytes that it may have.

    Raises:
        OSError: It cannot be read, is a device or a pipe, which may never end, or has more bytes.
    """
    check_plain(path)
    with path.open("rb") as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def read_text(
    path: Path, *, encoding: str = "utf-8", newline: str | None = None, most: int = LARGEST_TEXT
) -> str:
    """The text of a plain file.

    Args:
        path: The file.
        encoding: UTF-8, or `utf-8-sig` to pass over a byte order mark.
        newline: As of `open`; "" leaves the ends of lines as they are, for tables.
        most: Most bytes that it may have.

    Raises:
        OSError: As of `read_plain`.
        UnicodeDecodeError: It is no such text.
    """
    content = io.BytesIO(read_plain(path, most=most))
    return io.TextIOWrapper(content, encoding=encoding, newline=newline).read()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: It cannot be read, or is a device or a pipe.
    """
    check_plain(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(folder: Path, paths: Iterable[Path]) -> str:
    """The SHA-256 of the names within a folder, and of the contents, of some of its files.

    Raises:
        OSError: As of `sha256`.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        line = f"{path.relative_to(folder).as_posix()} {sha256(path)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check_writable(*folders: Path) -> None:
    """Checks before a long work that its results can be written.

    A folder that is not there yet can be made if the nearest one above it can be written.

    Args:
        folders: Where files will go; each is left as it is.

    Raises:
        StorageError: A file cannot be made there.
    """
    for folder in folders:
        there = folder
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        probe = _beside(there / "probe")
        try:
            os.close(os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            probe.unlink()
        except OSError as error:
            raise cannot_write("folder", folder, error) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other commands from a file while it is read, changed and written.

    Others that use this function wait. The lock is a file next to `path`. It ends with the process.

    Raises:
        StorageError: The folder cannot be written.
    """
    beside = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot_write("file", path, error) from error
    try:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def try_lock(file: int | IO[bytes], *, alone: bool = True) -> bool:
    """Locks an open file until it is closed, by whatever it is closed, and does not wait.

    Args:
        file: The file, or its descriptor.
        alone: Whether nobody else may hold a lock; if not, others that ask for the same may.

    Returns:
        Whether no lock of others is in the way. A file system without locks has none.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _beside(path: Path) -> Path:
    """A name for a temporary file or folder next to a path, which fits wherever the path's does."""
    room = longest_name(path.parent) - TEMPORARY
    return path.with_name(f".{cut_bytes(path.name, room)}.{secrets.token_hex(4)}.tmp")


def cannot_write(what: str, path: Path, error: OSError) -> StorageError:
    """The error of a file or folder that the system does not let be written."""
    return StorageError(
        f"cannot write the {what} ({error.strerror or error})",
        whose=str(path),
        fix="free space or choose a folder that can be written, then run the command again",
        code="storage/cannot-write",
    )


def _is_replaceable(path: Path, mark: str) -> bool:
    return path.is_dir() and (
        (path / mark).is_file() or all(found.name.startswith(".") for found in path.iterdir())
    )


def _keep_hidden(old: Path, new: Path) -> None:
    for found in old.iterdir():
        if found.name.startswith(".") and not os.path.lexists(new / found.name):
            found.rename(new / found.name)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
