"""Finds the files below a path: in folders at any depth, in zip archives, whatever their names."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from moekit import DataError
from moekit.outputs import kind_of_output
from moekit_medical.dicom.verdict import Ignored, SetAsideError
from moekit_medical.privacy import token

MAX_FILE_BYTES = 2**30
MAX_MEMBERS = 50_000
MAX_ARCHIVE_BYTES = 2**34
MAX_RATIO = 200
RATIO_FREE_BYTES = 2**24
"""An archive this small when unpacked may have any ratio."""

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_SAFE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


OUTPUT = "a folder that moekit wrote"


def output_words(kind: str) -> str:
    """Why a folder is left out, by what moekit wrote there."""
    return f"{OUTPUT} ({kind})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One file, on disk or in an archive.

    Attributes:
        token: Its name in messages: of the absolute path, for a member of an archive of
            `PATH!MEMBER`.
        open: Opens it for reading; the result can seek.
    """

    token: str
    open: Callable[[], IO[bytes]] = dataclasses.field(compare=False, repr=False)


class Archives:
    """Zip archives by path; only the last one used is held open."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._archive: zipfile.ZipFile | None = None

    def open(self, path: Path) -> zipfile.ZipFile:
        """The archive, open for reading."""
        if self._archive is None or path != self._path:
            self.close()
            self._archive, self._path = zipfile.ZipFile(path), path
        return self._archive

    def close(self) -> None:
        """Closes the archive that is open."""
        if self._archive is not None:
            self._archive.close()
        self._archive = self._path = None


def find_sources(
    path: Path, *, salt: bytes, archives: Archives
) -> tuple[tuple[Source, ...], tuple[Ignored, ...]]:
    """All files at or below `path`, sorted by path, and what cannot be looked into.

    Folders that are symbolic links are not followed (one that leads back would have no end, one
    that leads away would read what nobody named); they are recorded. So are folders that moekit
    wrote, whose segmentations are answers.

    Args:
        path: A file, a zip archive or a folder.
        salt: For the tokens.
        archives: Must stay open while the sources are read.

    Raises:
        DataError: There is nothing at `path`.
    """
    root = Path(os.path.abspath(path))  # noqa: PTH100  # Path.resolve fails on loops of links
    if not root.exists():
        raise DataError(
            "there is no file or folder at this path",
            whose=f"path {token(str(root), salt=salt)}",
            fix="check the path",
            code="data/not-found",
        )
    sources: list[Source] = []
    ignored: list[Ignored] = []
    for found, problem in sorted(_walk(root)):
        name = token(str(found), salt=salt)
        try:
            if problem:
                raise SetAsideError(problem)
            _check_regular(found)
            with found.open("rb") as file:
                is_archive = file.read(4) in _ZIP_MAGIC
            if is_archive:
                sources.extend(_members(found, salt=salt, archives=archives))
            else:
                sources.append(Source(token=name, open=functools.partial(_open_file, found)))
        except SetAsideError as aside:
            ignored.append(Ignored(file=name, reason=aside.reason))
        except OSError as error:
            ignored.append(Ignored(file=name, reason=_system_reason(error)))
    return tuple(sources), tuple(ignored)


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Files, each with the reason it cannot be read or an empty text."""
    if not root.is_dir():
        yield root, ""
        return
    failures: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=failures.append):
        if Path(folder) != root and (kind := kind_of_output(folder, files)):
            folders.clear()
            yield Path(folder), output_words(kind)
            continue
        for name in folders:
            if Path(folder, name).is_symlink():
                yield Path(folder, name), "a link to a folder, which is not followed"
        for name in files:
            yield Path(folder, name), ""
    for failure in failures:
        yield Path(failure.filename), _system_reason(failure)


def _check_regular(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SetAsideError("neither a file nor a folder")
    if status.st_size == 0:
        raise SetAsideError("an empty file")


def _system_reason(error: OSError) -> str:
    return f"unreadable: {os.strerror(error.errno) if error.errno else type(error).__name__}"


def _members(path: Path, *, salt: bytes, archives: Archives) -> list[Source]:
    """The files in an archive, in their order there; nothing is unpacked yet."""
    try:
        infos = [info for info in archives.open(path).infolist() if not info.is_dir()]
    except OSError:
        raise
    except Exception as error:
        raise SetAsideError(f"a damaged zip archive ({type(error).__name__})") from None
    _check_archive(infos, path.stat().st_size)
    sources: list[Source] = []
    seen: dict[str, int] = {}
    for info in infos:
        copy = seen[info.filename] = seen.get(info.filename, 0) + 1
        name = f"{path}!{info.filename}" + (f"#{copy}" if copy > 1 else "")
        opened = functools.partial(_open_member, archives, path, info)
        sources.append(Source(token=token(name, salt=salt), open=opened))
    return sources


def _check_archive(infos: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    """Bounds what an archive may unpack to (zipfile never reads past the sizes declared)."""
    total = sum(info.file_size for info in infos)
    if not infos:
        raise SetAsideError("a zip archive without files")
    if len(infos) > MAX_MEMBERS:
        raise SetAsideError(f"a zip archive of more than {MAX_MEMBERS} files; unpack it first")
    if total > MAX_ARCHIVE_BYTES or any(info.file_size > MAX_FILE_BYTES for info in infos):
        raise SetAsideError("a zip archive that unpacks to too many bytes; unpack it first")
    if total > RATIO_FREE_BYTES and total > MAX_RATIO * archive_bytes:
        raise SetAsideError(
            f"a zip archive that unpacks to more than {MAX_RATIO} times its size; it may be a trap"
        )


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def _open_member(archives: Archives, path: Path, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.flag_bits & 0x1:
        raise SetAsideError("an encrypted file in an archive; unpack it first")
    if info.compress_type not in _SAFE_METHODS:
        raise SetAsideError(
            "in an archive, compressed by another method than deflate; unpack it first"
        )
    with archives.open(path).open(info) as member:
        return io.BytesIO(member.read(MAX_FILE_BYTES))
