"""Files are whole or absent, whatever happens while they are written (law 7)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from moekit.errors import MoekitError
from moekit.files import (
    atomic_path,
    atomic_text,
    check_writable,
    locked,
    read_json,
    sha256,
    to_json,
    write_json,
)
from moekit.names import fitting_name
from moekit.testing import refused


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that is there already."""
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


def write(path: Path) -> None:
    with atomic_text(path) as file:
        file.write("new" * 100_000)


def test_a_block_that_succeeds_replaces_the_file(old: Path) -> None:
    with atomic_text(old) as file:
        file.write("größer\n")
        file.flush()
        assert old.read_text() == "old"
    assert old.read_bytes() == "größer\n".encode()
    assert list(old.parent.iterdir()) == [old]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "some" / "inner" / "folder" / "file.txt"
    write(path)
    assert path.is_file()


def test_the_file_may_be_read_by_those_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "file.txt")
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupted_block_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], old: Path
) -> None:
    with pytest.raises(error), atomic_text(old) as file:
        file.write("half of it")
        raise error
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_a_temporary_file_that_was_replaced_by_the_writer_is_taken(old: Path) -> None:
    with atomic_path(old) as temporary:
        assert temporary.parent == old.parent
        beside = temporary.with_suffix(".other")
        beside.write_text("new")
        beside.replace(temporary)
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def disk_is_full_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def file_system_becomes_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(self: Path, target: Path) -> Path:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("fault", [disk_is_full_at_the_end, file_system_becomes_read_only])
def test_a_write_that_fails_at_its_end_leaves_the_old_file_and_nothing_else(
    fault: Callable[[pytest.MonkeyPatch], None], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with refused("storage/cannot-write") as caught:
        write(old)
    assert caught.value.whose == str(old)
    assert "free space" in caught.value.fix
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_a_write_that_fails_in_its_middle_leaves_the_old_file_and_nothing_else(old: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with refused("storage/cannot-write", match="File too large"):
            write(old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="this system has no such folder")
def test_a_folder_that_refuses_files_is_a_storage_error() -> None:
    with refused("storage/cannot-write"):
        write(Path("/sys/kernel/moekit-test.txt"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with refused("storage/cannot-write", match="Permission denied"):
        write(tmp_path / "file.txt")


def test_a_file_in_the_place_of_the_folder_is_a_storage_error(old: Path) -> None:
    with refused("storage/cannot-write"):
        write(old / "inner" / "file.txt")
    assert old.read_text() == "old"


def test_a_folder_in_the_place_of_the_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inner").mkdir(parents=True)
    with refused("storage/not-a-file"):
        write(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"größe": [1, 2.5, None, True], "inner": {"a": "b"}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_json_cannot_hold_leaves_the_old_file(value: object, old: Path) -> None:
    with pytest.raises((MoekitError, TypeError)):
        write_json(old, {"value": value})
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_a_number_that_is_not_finite_is_refused_with_its_place() -> None:
    with refused("error/not-finite") as caught:
        to_json({"rows": [{"score": 0.5}, {"score": float("-inf")}]})
    assert caught.value.whose == "rows[1].score"
    assert json.loads(to_json({"score": [0.5, None]})) == {"score": [0.5, None]}


@pytest.mark.parametrize("text", ["NaN", '{"a": [-Infinity]}', "[" * 100_000])
def test_a_file_with_what_json_does_not_know_is_bad_data(text: str, tmp_path: Path) -> None:
    (tmp_path / "value.json").write_text(text)
    with refused("data/bad-json"):
        read_json(tmp_path / "value.json")


def test_a_missing_json_file_is_bad_data(tmp_path: Path) -> None:
    with refused("data/not-found") as caught:
        read_json(tmp_path / "absent.json")
    assert caught.value.whose == str(tmp_path / "absent.json")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe"])
def test_a_damaged_json_file_is_bad_data(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with refused("data/bad-json"):
        read_json(path)


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bytes.bin"
    path.write_bytes(bytes(range(256)) * 1000)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_device_or_a_folder_is_never_replaced(tmp_path: Path) -> None:
    for target in (Path(os.devnull), tmp_path):
        with refused("storage/not-a-file"), atomic_text(target) as file:
            file.write("x")
    assert Path(os.devnull).is_char_device()
    assert tmp_path.is_dir()


def test_threads_do_not_change_each_others_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)

    def many(number: int) -> None:
        for count in range(40):
            write_json(tmp_path / f"{number}-{count}.json", count)
            plain = tmp_path / f"{number}-{count}.plain"
            plain.touch()

    try:
        threads = [threading.Thread(target=many, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}


@pytest.mark.parametrize("name", ["x" * 251 + ".txt", "ü" * 127])
def test_the_longest_name_that_a_file_may_have_is_written(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["x" * 300, "ü" * 150, "a/" + "y" * 251, "b" * 251, "deep/" * 1200 + "z", "caf\udce9"]
)
def test_a_name_that_does_not_fit_gets_a_shorter_one(name: str, tmp_path: Path) -> None:
    found = fitting_name(tmp_path, name, ".jpg")
    assert found != fitting_name(tmp_path, f"{name}1", ".jpg")
    assert found.endswith(".jpg")
    found.encode("utf-8")
    write(tmp_path / found)
    assert (tmp_path / found).is_file()


@pytest.mark.parametrize("name", ["a.png", "a/b/c.png", "größe.png"])
def test_a_name_that_fits_stays(name: str, tmp_path: Path) -> None:
    assert fitting_name(tmp_path, name, ".jpg") == f"{name}.jpg"


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a//b", "a/./b", "a/..", "a\0b", ""])
def test_a_name_leads_to_no_other_folder(name: str, tmp_path: Path) -> None:
    found = fitting_name(tmp_path, name, ".jpg")
    assert "/" not in found
    assert len(found) == len("0123456789ab.jpg")


def test_a_name_that_is_no_text_loses_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", {"file": "caf\udce9.png", "score": 0.5})
    assert read_json(tmp_path / "value.json") == {"file": "caf\udce9.png", "score": 0.5}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes of that kind")
def test_a_device_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="device or a pipe"):
            sha256(tmp_path / name)
        with refused("data/bad-json"):
            read_json(tmp_path / name)


def test_what_cannot_be_written_is_told_before(tmp_path: Path, old: Path) -> None:
    check_writable(tmp_path, tmp_path / "new" / "inner")
    assert list(tmp_path.iterdir()) == [old]
    for folder in (old, old / "inner", Path("/proc/moekit/out")):
        with refused("storage/cannot-write") as caught:
            check_writable(folder)
        assert caught.value.whose == str(folder)


def test_changes_under_a_lock_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "count.json"
    write_json(path, 0)

    def add() -> None:
        for _ in range(20):
            with locked(path):
                write_json(path, read_json(path) + 1)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_json(path) == 120
