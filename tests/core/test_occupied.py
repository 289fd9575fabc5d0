"""One command at a time writes into a folder; the other one is refused and leaves nothing."""

import contextlib
import subprocess
import sys
import threading

import pytest
from PIL import Image

from moekit import UsageError
from moekit.occupied import LOCK, alone_in, occupied
from moekit.runs.run import Run
from moekit.sealed import is_sealed, write_sealed
from moekit.testing import refused
from tests.core.runs.test_schema import RECORD, RESULT

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from moekit.occupied import occupied\n"
    "with occupied(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(600)\n"
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def holder(tmp_path):
    """Another process that writes into a folder."""
    started = []

    def hold(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_each_command_that_writes_is_refused_while_another_one_does(moekit, holder, tmp_path):
    run, out, data = tmp_path / "run", tmp_path / "out", f"folder={tmp_path}"
    run.mkdir()
    write_sealed(run / "run.json", RECORD)
    write_sealed(run / "result.json", RESULT)
    image = tmp_path / "a.png"
    Image.new("RGB", (60, 60)).save(image)
    holder(run)
    process, before = holder(out), names(run)
    kit = "industrial"
    for command in (
        ("predict", kit, image, "--run", run, "--out", out),
        ("predict", "auto", image, "--run", run, "--out", out),
        ("watch", kit, tmp_path, "--run", run, "--out", out),
        ("adapt", kit, "--data", data, "--out", out),
        ("adapt", kit, "--data", data, "--out", run, "--resume"),
        ("pretrain", kit, "--data", data, "--out", out),
        ("merge", run, run, "--data", data, "--out", out),
        ("evaluate", kit, "--data", data, "--run", run),
        ("report", run),
        ("export", kit, "--data", data, "--run", run, "--out", out),
    ):
        outcome = moekit(*command)
        refusal = (outcome.code, "[usage/folder-in-use]" in outcome.err)
        assert refusal == (2, True), (command, outcome.err)
    assert names(run) == before
    assert names(out) == [LOCK]
    process.kill()  # what a killed command leaves is in nobody's way
    process.wait()
    with occupied(out):
        assert names(out) == [LOCK]
    assert names(out) == []


def test_a_folder_that_was_made_for_nothing_is_gone_again(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(ZeroDivisionError), occupied(folder):
        raise ZeroDivisionError
    assert not (tmp_path / "a").exists()
    with occupied(folder):
        (folder / "made").touch()
    assert names(folder) == ["made"]
    with occupied(tmp_path / "none", make=False):
        assert not (tmp_path / "none").exists()


def test_a_thread_that_has_a_folder_goes_on_and_another_is_refused(tmp_path):
    @alone_in("out")
    def write(_what, *, out):
        return names(out)

    told = []

    def other():
        with refused("usage/folder-in-use"):
            write(1, out=tmp_path)
        told.append(True)

    with occupied(tmp_path):
        assert write(1, out=tmp_path) == [LOCK]
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert told
    assert write(1, out=tmp_path) == [LOCK]


def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path, read_only):
    closed = tmp_path / "closed"
    closed.mkdir()
    read_only(closed)
    for folder in (closed, closed / "inner"):
        with refused("storage/cannot-write") as caught, occupied(folder):
            pass
        assert caught.value.exit_code == 1


def test_only_one_of_many_that_begin_at_once_has_the_folder(tmp_path):
    folder, inside, most = tmp_path / "out", [], []

    def work():
        for _ in range(40):
            with contextlib.suppress(UsageError), occupied(folder):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert set(most) == {1}


def test_a_change_of_a_run_by_another_command_is_not_undone(tmp_path):
    write_sealed(tmp_path / "run.json", RECORD)
    mine, other = Run(tmp_path), Run(tmp_path)
    assert mine.read()["done"]
    other.change({"replaced_by": {"folder": "new"}})
    mine.change({"rule": {"name": "f1"}})
    record = Run(tmp_path).read()
    assert record["replaced_by"]["folder"] == "new"
    assert record["rule"]["name"] == "f1"
    assert is_sealed(record)
