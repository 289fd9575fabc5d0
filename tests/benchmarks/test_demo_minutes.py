"""`moekit demo industrial`, timed from the start of the command with an empty cache.

It runs as on this machine, then with torch and oneDNN kept to AVX2, as many laptops have it. The
figure is the longer one. Other jobs on the machine count too: run it on a quiet one.
"""

import os
import re
import subprocess
import time

import pytest

from moekit.testing.child import child_command, child_environment
from tests.benchmarks.task_runs import TINY
from tests.benchmarks.test_dispatch_rules import AVX2

pytestmark = pytest.mark.bench
MOST_MINUTES = 3.0
LONGEST_SILENCE_S = 10.0
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_demo_minutes.py"


def test_the_first_result_comes_within_three_minutes(tmp_path, record, record_figure):
    found = {
        name: demo(tmp_path / name, more) for name, more in {"native": {}, "avx2": AVX2}.items()
    }
    figures = {**found, "cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    record("demo_minutes", figures)
    longest = max(one["minutes"] for one in found.values())
    record_figure(
        "demo.minutes",
        round(longest, 2),
        command=COMMAND,
        native=round(found["native"]["minutes"], 2),
        avx2=round(found["avx2"]["minutes"], 2),
        cores=os.cpu_count(),
        load_average=os.getloadavg()[0],
    )
    assert longest <= MOST_MINUTES or TINY
    assert all(one["longest_silence_s"] <= LONGEST_SILENCE_S for one in found.values()) or TINY


def demo(folder, more):
    """Minutes of one demonstration, and the longest time without a line."""
    folder.mkdir()
    environment = child_environment(**more, MOEKIT_CACHE_DIR=str(folder / "cache"))
    began = last = time.perf_counter()
    silence, lines = 0.0, []
    with subprocess.Popen(
        child_command("-m", "moekit", "demo", "industrial"),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout:
            now = time.perf_counter()
            silence, last = max(silence, now - last), now
            lines.append(line.rstrip())
    minutes = (time.perf_counter() - began) / 60
    text = "\n".join(lines)
    assert process.returncode == 0, text
    assert re.search(r"\d+ of \d+ defective are found", text), text
    assert (folder / "runs" / "demo-industrial" / "report.html").is_file()
    return {"minutes": minutes, "longest_silence_s": silence, "said": lines[-12:]}
