"""`moekit predict medical` on a chest of 64 slices: time, memory, and the same bytes again.

The chest is a real one of 30 slices 8 mm apart, interpolated to 64 slices of 512 x 512 between
the same ends. The command runs as a user runs it, in a process of its own on a terminal. Seconds
are those of the better of two rounds; those of the processors are recorded next to them, as a busy
machine lengthens the former.
"""

import json
import os
import pty
import re
import subprocess
import threading
import time

import numpy as np
import pydicom
import pytest

from moekit.cli.adapt import run_adaptation
from moekit.cli.output import ProgressDisplay
from moekit.testing.child import child_command, child_environment
from moekit_medical.loaders.candidates import write_example

pytestmark = pytest.mark.bench
SLICES, THREADS, ROUNDS = 64, 2, 2
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MOST_SECONDS, MOST_GIB = 60.0, 4.0


def test_a_series_of_64_slices_is_scored_within_time_and_memory(shared, tmp_path, record):
    chest = shared / "data" / "lung_ct_dicom" / "Lung_Dx-A0002" / "610983" / "ct"
    write_longer(chest, tmp_path / "series", SLICES)
    run = adapt(tmp_path)
    outs = [tmp_path / f"out{number}" for number in range(ROUNDS)]
    rounds = [measure(tmp_path / "series", run, out) for out in outs]
    (series,) = json.loads((outs[0] / "series.json").read_text())["series"]
    for one in rounds:
        assert "read ━" in one["terminal"], "no progress bar"
        assert f"{series['candidates']}/{series['candidates']}" in one.pop("terminal")
    figures = {
        "slices": series["slices"],
        "matrix": [512, 512],
        "candidates": series["candidates"],
        "threads": THREADS,
        "rounds": rounds,
        "seconds": min(one["seconds"] for one in rounds),
        "peak_gib": max(one["peak_gib"] for one in rounds),
        "load_average": os.getloadavg()[0],
        "byte_identical": len({frozenset(contents(out).items()) for out in outs}) == 1,
    }
    record("series", figures)
    assert (series["status"], series["slices"], series["problems"][1:]) == ("scored", SLICES, [])
    assert len(contents(outs[0])) >= 7
    assert figures["byte_identical"]
    assert figures["peak_gib"] <= MOST_GIB
    assert figures["seconds"] <= MOST_SECONDS


def adapt(folder):
    """A run with the kit's own image size; how well it was trained changes nothing in the time."""
    (folder / "crops").mkdir()
    example = write_example(folder / "crops")
    data, progress = f"candidates={example}", ProgressDisplay(None)
    run_adaptation(
        "medical", data=data, run_folder=folder / "run", progress=progress, epochs=1, views=1
    )
    return folder / "run"


def write_longer(chest, folder, slices):
    """The series at `chest`, interpolated to another number of slices between the same ends."""
    found = sorted(map(pydicom.dcmread, chest.iterdir()), key=lambda one: place(one)[2])
    stored = np.stack([one.pixel_array for one in found]).astype(np.float64)
    folder.mkdir()
    for number, at in enumerate(np.linspace(0, len(found) - 1, slices)):
        lower = min(int(at), len(found) - 2)
        weight = at - lower
        dataset = pydicom.dcmread(found[lower].filename)
        values = (1 - weight) * stored[lower] + weight * stored[lower + 1]
        dataset.PixelData = np.rint(values).astype(found[0].pixel_array.dtype).tobytes()
        between = (1 - weight) * place(found[lower]) + weight * place(found[lower + 1])
        dataset.ImagePositionPatient = [f"{value:.4f}" for value in between]
        dataset.SOPInstanceUID = f"2.25.{1000 + number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number:03}.dcm")


def place(dataset):
    return np.array(dataset.ImagePositionPatient, dtype=np.float64)


def measure(series, run, out):
    """Time and peak memory of one command on a terminal, and what it wrote there."""
    arguments = ["predict", "medical", series, "--run", run, "--out", out]
    ours, theirs = pty.openpty()
    began = time.perf_counter()
    with subprocess.Popen(
        child_command("-m", "moekit", *map(str, arguments)),
        env=child_environment(OMP_NUM_THREADS=str(THREADS), TERM="xterm", COLUMNS="100"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        terminal = drain(ours)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    text = terminal()
    assert process.returncode == 0, text[-2000:]
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
        "terminal": text,
    }


def drain(descriptor):
    """Reads a terminal next to the command; call the result for its text, less colours."""
    parts = []

    def read():
        try:
            while data := os.read(descriptor, 65536):
                parts.append(data)
        except OSError:  # the other end was closed
            os.close(descriptor)

    thread = threading.Thread(target=read)
    thread.start()

    def text():
        thread.join()
        return COLOURS.sub("", b"".join(parts).decode("utf-8", "replace"))

    return text


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
