"""Several processes pretrain as one does: specialists, and the twin of the base tier."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moekit.scale.checkpoint import load_sharded
from moekit.scale.tier import Tier

SCRIPT = Path(__file__).with_name("pretrain_in_processes.py")


def launched(what, folder, processes):
    launch = [
        *("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
        *(str(SCRIPT), what, str(folder), str(processes)),
    ]
    done = subprocess.run(
        [sys.executable, *launch], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / f"{what}{processes}" / "pretrain.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


def test_two_processes_end_with_the_specialists_of_one(folder):
    records = [launched("specialists", folder, count) for count in (1, 2)]
    one, two = (
        load_file(folder / f"specialists{count}" / "specialists.safetensors") for count in (1, 2)
    )
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert any(value.any() for name, value in two.items() if name.endswith("up.weight"))
    assert records[0]["images_sha256"] == records[1]["images_sha256"]


def test_the_twin_of_the_base_tier_learns_in_two_processes_and_goes_on_after_a_kill(folder):
    records = [launched("tier", folder, count) for count in (1, 2)]
    assert [one["processes"] for one in records] == [1, 2]
    found = []
    for count in (1, 2):
        model = Tier(blocks=1).twin().build("cpu", seed=1)
        load_sharded(folder / f"tier{count}" / "backbone", model)
        found.append(dict(model.named_parameters()))
    begun = dict(Tier(blocks=1).twin().build("cpu").named_parameters())
    assert not torch.equal(found[1]["blocks.0.moe.bank.w1_EHD"], begun["blocks.0.moe.bank.w1_EHD"])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-2, atol=2e-4, msg=name)
    curves = [one["curves"] for one in records]
    assert [one["step"] for one in curves[1]] == [one["step"] for one in curves[0]] == [0, 5]
    assert curves[1][-1]["loss"] == pytest.approx(curves[0][-1]["loss"], rel=1e-2)
