"""How long the tests take: minutes of `make test`, with the cores and the instruction set.

If this checkout has no installed `.venv`, `make tests` is timed with the running Python instead.
Other jobs on the machine count too: run it on a quiet one. `ATEN_CPU_CAPABILITY=avx2` gives the
figure of a machine without AVX-512.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_minutes.py"


def test_the_tests_pass_within_their_minutes(record_figure):
    installed = (ROOT / ".venv" / ".ready").is_file()
    told = "make test" if installed else "make tests"
    command = told.split() if installed else [*told.split(), f"BIN={Path(sys.executable).parent}"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=_environment(), check=False)
    minutes = (time.perf_counter() - began) / 60
    assert done.returncode == 0, f"{told} failed after {minutes:.1f} minutes"
    record_figure(
        "tests.minutes",
        round(minutes, 2),
        command=COMMAND,
        timed=told,
        cores=len(os.sched_getaffinity(0)),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        load_average=os.getloadavg()[0],
    )


def _environment():
    """What a person's shell has: nothing of the pytest that runs this."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))
    }
