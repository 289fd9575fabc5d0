"""`moekit predict medical` on a chest of 64 slices: time, memory, and the same bytes again.

The kit is trained on the candidates of LUNA16. Next to it, in turn, stands
`PATH?views=all`, by which each candidate is scored in all four views, as all were at first; the
findings must be the same.

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

from moekit.testing.child import child_command, child_environment
from tests.benchmarks.task_runs import run

pytestmark = pytest.mark.bench
SLICES, THREADS, ROUNDS = 64, 2, 2
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MOST_SECONDS, MOST_GIB, LEAST_SPEEDUP = 60.0, 4.0, 2.0
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_series.py"
NAME, HOW = (
    "series-0",
    {"seed": 0, "split": "test", "epochs": 2, "baseline_epochs": 1, "least_steps": 0},
)
"""The run: short, since time and agreement of views are asked for and not the best figures."""


def test_a_series_of_64_slices_is_scored_within_time_and_memory(
    shared, tmp_path, runs, record, record_figure
):
    chest = shared / "data" / "lung_ct_dicom" / "Lung_Dx-A0002" / "610983" / "ct"
    write_longer(chest, tmp_path / "series", SLICES)
    data = f"candidates={shared / 'data' / 'luna16_candidates'}"
    run(runs / NAME, "medical", data, **HOW)
    rounds = {
        way: [tmp_path / f"{way}{number}" for number in range(ROUNDS)] for way in ("few", "all")
    }
    used = {way: [] for way in rounds}
    for number in range(ROUNDS):  # in turn, so that a busy minute slows both
        for way, outs in rounds.items():
            path = tmp_path / ("series" if way == "few" else "series?views=all")
            used[way].append(measure(path, runs / NAME, outs[number]))
    found = {way: series_of(outs[0]) for way, outs in rounds.items()}
    series = found["few"]
    for one in used["few"]:
        assert re.search(r"read +━", one["terminal"]), "no progress bar"
        assert f"{series['candidates']}/{series['candidates']}" in one["terminal"]
    least = {
        way: {key: min(one[key] for one in ones) for key in ("seconds", "processor_seconds")}
        for way, ones in used.items()
    }
    speedup = least["all"]["processor_seconds"] / least["few"]["processor_seconds"]
    figures = {
        "slices": series["slices"],
        "matrix": [512, 512],
        "candidates": series["candidates"],
        "by_one_view": series["scored_by_one_view"],
        "by_all_views": series["scored_by_all_views"],
        "findings": series["findings"],
        "threads": THREADS,
        "rounds": [without_text(one) for one in used["few"]],
        "all_views": [without_text(one) for one in used["all"]],
        "seconds": least["few"]["seconds"],
        "times_as_fast_as_all_views": {
            "processor": speedup,
            "clock": least["all"]["seconds"] / least["few"]["seconds"],
        },
        "peak_gib": max(one["peak_gib"] for one in used["few"]),
        "load_average": os.getloadavg()[0],
        "byte_identical": len({frozenset(contents(out).items()) for out in rounds["few"]}) == 1,
    }
    record("series", figures)
    assert (series["status"], series["slices"]) == ("scored", SLICES)
    assert len(contents(rounds["few"][0])) >= 7
    assert figures["byte_identical"]
    assert findings_of(rounds["few"][0]) == findings_of(rounds["all"][0])
    record_figure("series.speedup", speedup, command=COMMAND, seeds=(0,))
    assert figures["peak_gib"] <= MOST_GIB
    assert figures["seconds"] <= MOST_SECONDS
    assert speedup >= LEAST_SPEEDUP


def test_findings_of_few_views_are_those_of_all(shared, tmp_path, runs, record):
    data = f"candidates={shared / 'data' / 'luna16_candidates'}"
    run(runs / NAME, "medical", data, **HOW)
    chests = sorted((shared / "data" / "lung_ct_dicom").glob("*/*/ct"))
    rows = []
    for place, chest in enumerate(chests):
        outs = {way: tmp_path / f"{way}{place}" for way in ("few", "all")}
        measure(chest, runs / NAME, outs["few"])
        measure(chest.with_name("ct?views=all"), runs / NAME, outs["all"])
        series = series_of(outs["few"])
        same = findings_of(outs["few"]) == findings_of(outs["all"])
        kept = (
            *("slices", "candidates", "findings"),
            *("scored_by_one_view", "scored_by_all_views"),
        )
        rows.append({**{key: series[key] for key in kept}, "same_findings": same})
    record("series_views", {"series": rows})
    assert all(row["same_findings"] for row in rows)


def series_of(out):
    (series,) = json.loads((out / "series.json").read_text())["series"]
    return series


def findings_of(out):
    (path,) = out.glob("*/findings.json")
    return json.loads(path.read_text())["findings"]


def without_text(measured):
    return {key: value for key, value in measured.items() if key != "terminal"}


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
