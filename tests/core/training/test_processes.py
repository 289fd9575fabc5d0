"""Several processes train as one does."""

import runpy
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from moekit.training import adapt

SCRIPT = Path(__file__).with_name("adapt_in_processes.py")


def test_two_processes_end_with_the_weights_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(adapt, "cache_folder", adapt.cache_folder)  # which the script changes
    runpy.run_path(str(SCRIPT))["main"](tmp_path, 1)  # here, which spares it the imports
    launch = [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *(str(SCRIPT), str(tmp_path), "2"),
    ]
    done = subprocess.run(
        [sys.executable, *launch], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / f"run{count}" / "kit.safetensors") for count in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=name)
