"""Fuzzing of every reader: damaged files are read or refused by a code, and nothing else happens.

Each reader has the processor time of `MOEKIT_FUZZ_SECONDS` (60 seconds if not given);
`MOEKIT_FUZZ_SEED` begins with other inputs. Inputs on which a reader fails are kept in
`build/fuzz/READER/`, with the trace in about.json; `last.json` there is the last input.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moekit.files import read_json, write_json
from moekit.runs.facts import machine, now, versions
from tests.benchmarks.conftest import RESULTS
from tests.benchmarks.fuzzing.child import GROUPS, folder_of, readers
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "build" / "fuzz"
SECONDS = float(os.environ.get("MOEKIT_FUZZ_SECONDS", "2" if TINY else "60"))
SEED = int(os.environ.get("MOEKIT_FUZZ_SEED", "0"))
MOST_PROCESSOR = 60.0
"""Seconds of processor time on one input after which a process is ended; four times at first."""
MOST_WAIT = 1800.0
"""Seconds by the clock on one input: the process waits for what never comes.

Other programs make a process slow by the clock; they change its processor time hardly.
"""


@pytest.mark.parametrize("group", GROUPS)
def test_readers_answer_or_refuse_by_a_code(group, tmp_path):
    names = [reader.name for reader in readers(group)]
    for name in names:
        shutil.rmtree(FOUND / folder_of(name), ignore_errors=True)
    told, left = [], names
    while left:
        fault = fuzz(group, left, tmp_path / str(len(left)))
        done = [name for name in left if (FOUND / folder_of(name) / "counts.json").exists()]
        if fault is not None:
            last = left[len(done)] if len(done) < len(left) else left[-1]
            told.append(f"{last}: the process {fault}")
            done = left[: left.index(last) + 1]
        for name in done:
            told += counted(name)
        left = left[len(done) :]
    assert not told, f"inputs are kept in {FOUND}\n" + "\n".join(told)


def fuzz(group, names, work):
    """Fuzzes readers in a process; how it ended if that is not as it should."""
    work.mkdir(parents=True)
    FOUND.mkdir(parents=True, exist_ok=True)
    arguments = [group, str(SECONDS), str(SEED), str(work), str(FOUND), *names]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with (FOUND / f"{group}.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.fuzzing.child", *arguments],
            cwd=ROOT,
            env=environment,
            stderr=output,
        )
        return watched(process, [FOUND / folder_of(name) / "last.json" for name in names])


def watched(process, inputs):
    """Waits for the end of a process; how it went wrong, or None."""
    last, since, used = 0.0, time.monotonic(), 0.0
    while True:
        try:
            code = process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            newest = max((path.stat().st_mtime for path in inputs if path.exists()), default=0.0)
            spent = processor_seconds(process.pid)
            if newest > last:
                last, since, used = newest, time.monotonic(), spent
            most = MOST_PROCESSOR if last else 4 * MOST_PROCESSOR
            if spent - used > most or time.monotonic() - since > MOST_WAIT:
                process.kill()
                process.wait()
                return "hung"
        else:
            return None if code == 0 else f"died with {code}"


def processor_seconds(process_id):
    """What a process used so far; 0 on a system that does not tell."""
    try:
        facts = Path(f"/proc/{process_id}/stat").read_text(encoding="latin-1")
    except OSError:
        return 0.0
    ticks = facts.rpartition(")")[2].split()[11:13]  # after the name, which may hold anything
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def counted(name):
    """Records what was counted of a reader; a line for each kind of failure."""
    path = FOUND / folder_of(name) / "counts.json"
    if not path.exists():
        return [f"{name}: nothing was counted"]
    counts = json.loads(path.read_text(encoding="utf-8"))
    if not TINY:
        record(name, counts)
    return [
        f"{name}: {one['count']} times {key}: {one['detail']}"
        for key, one in counts["failures"].items()
    ]


def record(name, counts):
    """Writes the counts of a reader into results/fuzz.json; the others stay as they are."""
    path = RESULTS / "fuzz.json"
    known = read_json(path)["readers"] if path.exists() else {}
    failures = {key: one["count"] for key, one in counts["failures"].items()}
    known[name] = {**counts, "failures": failures, "seconds": SECONDS, "seed": SEED, "date": now()}
    facts = {
        "command": "make bench (tests/benchmarks/test_fuzz.py)",
        "inputs": sum(one["inputs"] for one in known.values()),
        "failures": sum(sum(one["failures"].values()) for one in known.values()),
        "versions": versions(),
        "machine": machine(),
    }
    write_json(path, {**facts, "readers": dict(sorted(known.items()))})
