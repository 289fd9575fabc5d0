"""The narrow twin of the base tier, all its 128 blocks, trains in two processes on real images."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench
SCRIPT = Path(__file__).parents[1] / "core" / "scale" / "twin_training.py"
STEPS = 10


def test_the_twin_learns_in_two_processes(tmp_path, record):
    path = tmp_path / "figures.json"
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = subprocess.run(
        [sys.executable, *launch, str(SCRIPT), str(path), str(STEPS)],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(path.read_text())
    record("twin", {"steps": STEPS, "processes": 2, **figures})
    assert (figures["blocks"], figures["experts"]) == (128, 16)
    assert figures["last"] < 0.5 * figures["first"]
