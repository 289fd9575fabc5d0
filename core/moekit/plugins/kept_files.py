"""The files of a run while listeners hear of it: what one of them changes is put back.

A listener may add files of its own to the run folder. moekit's, which results are read from, are
compared by content before and after, since a reader cannot tell an edited result from a real one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from moekit.contract.report import is_run_file
from moekit.errors import MoekitError
from moekit.files import atomic_path, sha256

_ROOM = 2**31
"""Bytes of files that are copied; of larger ones a change is reported and cannot be undone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Kept:
    mark: tuple[int, int, int, int]
    digest: str
    copy: Path | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """What became of a run's files, by their names in the run folder.

    Attributes:
        restored: They were changed, deleted or made, and are again what they were.
        lost: They were changed or deleted and could not be put back.
    """

    restored: tuple[str, ...]
    lost: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.restored or self.lost)


class KeptFiles:
    """Copies of a run's files; made by `keeping`.

    Args:
        folder: Of the run.
        copies: Where the copies go.
    """

    def __init__(self, folder: Path, copies: Path) -> None:
        self._folder = folder
        self._kept: dict[str, _Kept] = {}
        room = _ROOM
        for number, path in enumerate(_files(folder)):
            size = path.stat().st_size
            copy = _copied(path, copies / str(number)) if size <= room else None
            room -= size if copy else 0
            name = path.relative_to(folder).as_posix()
            self._kept[name] = _Kept(mark=_mark(path), digest=sha256(copy or path), copy=copy)

    def restore(self) -> Changes:
        """Puts back what has changed since the copies were made, and says what that was."""
        restored: list[str] = []
        lost: list[str] = []
        for name, kept in self._kept.items():
            path = self._folder / name
            if not self._is_changed(path, kept):
                continue
            (restored if self._put_back(path, kept) else lost).append(name)
        for path in _files(self._folder):
            name = path.relative_to(self._folder).as_posix()
            if name not in self._kept:
                with contextlib.suppress(OSError):
                    path.unlink()
                    restored.append(name)
        return Changes(restored=tuple(restored), lost=tuple(lost))

    def _is_changed(self, path: Path, kept: _Kept) -> bool:
        try:
            return _mark(path) != kept.mark and (path.is_symlink() or sha256(path) != kept.digest)
        except OSError:
            return True

    def _put_back(self, path: Path, kept: _Kept) -> bool:
        if kept.copy is None:
            return False
        try:
            if path.is_symlink():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
            with atomic_path(path) as temporary:
                shutil.copyfile(kept.copy, temporary)
        except (OSError, MoekitError):
            return False
        return True


@contextlib.contextmanager
def keeping(folder: Path) -> Iterator[KeptFiles | None]:
    """Yields the files of a run, kept until the block ends; None if they cannot be read."""
    with contextlib.ExitStack() as stack:
        kept = None
        with contextlib.suppress(OSError):
            # Not in the run folder, which a listener may delete.
            copies = tempfile.TemporaryDirectory(prefix="moekit-run-", ignore_cleanup_errors=True)
            kept = KeptFiles(folder, Path(stack.enter_context(copies)))
        yield kept


def _copied(path: Path, copy: Path) -> Path | None:
    try:
        shutil.copyfile(path, copy)
    except OSError:
        copy.unlink(missing_ok=True)
        return None
    return copy


def _files(folder: Path) -> list[Path]:
    """Moekit's own files in a run folder."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and is_run_file(path.relative_to(folder).parts)
    )


def _mark(path: Path) -> tuple[int, int, int, int]:
    status = path.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
