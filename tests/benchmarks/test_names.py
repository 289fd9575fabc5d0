"""`moekit predict` on 100,000 files: the time from the start of the command to the first score.

All that depends on the number of files comes before it: the folder is listed, names become unique.
Imports and the backbone are in the figure too. Processor time is recorded next to the time of the
clock, and takes its place on a busy machine.
"""

import os
import struct
import subprocess
import time
import zlib

import pytest

from moekit.testing.child import child_command, child_environment

pytestmark = pytest.mark.bench

FILES, A_FOLDER = 100_000, 1000
MOST_SECONDS = 5.0
ROUNDS = 2


def test_the_first_of_a_hundred_thousand_files_has_its_score_within_seconds(
    tmp_path, two_classes, record, moekit
):
    run = tmp_path / "run"
    small = ("--epochs", 1, "--views", 1, "--image-size", 112)
    done = moekit("adapt", "industrial", "--data", f"folder={two_classes}", "--out", run, *small)
    assert done.code == 0, done.err
    write_files(tmp_path / "many")
    found = {
        str(count): [first_score(folder, run, tmp_path / "out", number) for number in range(ROUNDS)]
        for count, folder in ((A_FOLDER, tmp_path / "many/000"), (FILES, tmp_path / "many"))
    }
    best = {
        count: {name: min(one[name] for one in rounds) for name in rounds[0]}
        for count, rounds in found.items()
    }
    record("names", {"files": best, "rounds": found, "load": os.getloadavg()[0]})
    assert min(best[str(FILES)].values()) <= MOST_SECONDS


@pytest.fixture
def two_classes(tmp_path):
    """20 gray parts, and 20 with a white bar."""
    for number in range(20):
        for name, bar in (("good", 0), ("bad", 6)):
            rows = [
                bytes([255 if 20 <= row < 20 + bar else 100 + number]) * 64 for row in range(64)
            ]
            path = tmp_path / "parts" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(rows))
    return tmp_path / "parts"


def write_files(folder):
    """PNG files of 4 x 4 pixels, no two alike."""
    for first in range(0, FILES, A_FOLDER):
        place = folder / f"{first // A_FOLDER:03d}"
        place.mkdir(parents=True)
        for number in range(first, first + A_FOLDER):
            (place / f"{number}.png").write_bytes(png([number.to_bytes(4, "big")] * 4))


def png(rows):
    """A gray PNG file of rows of bytes."""

    def chunk(name, content):
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, content)
        for name, content in ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    )


def first_score(folder, run, out, number):
    """Seconds of the clock and of the processor until the journal has a row."""
    journal = out / f"{folder.name}-{number}" / "predictions.jsonl"
    command = ("-m", "moekit", "predict", "industrial", folder, "--run", run, "--out")
    began = time.perf_counter()
    child = subprocess.Popen(
        child_command(*map(str, command), str(journal.parent)),
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 1):
        assert child.poll() is None
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    child.kill()
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = -9
    return {"seconds": seconds, "processor_seconds": used.ru_utime + used.ru_stime}
