"""Several processes train as one does: a kit, specialists, and the twin of the base tier."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moekit.scale.checkpoint import load_sharded
from moekit.scale.tier import Tier
from moekit.training import adapt

SCRIPT = Path(__file__).with_name("train_in_processes.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds what one process made, which is this one, and what two made."""
    made = tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt, "cache_folder", adapt.cache_folder)  # which the script changes
        runpy.run_path(str(SCRIPT))["main"](made, 1)
    launch = [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *(str(SCRIPT), str(made), "2"),
    ]
    done = subprocess.run(
        [sys.executable, *launch], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return made


def records(folder, what):
    """Of one process and of two."""
    return [
        json.loads((folder / f"{what}{count}" / "pretrain.json").read_text()) for count in (1, 2)
    ]


def test_two_processes_end_with_the_weights_of_one(folder):
    one, two = (load_file(folder / f"run{count}" / "kit.safetensors") for count in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_two_processes_end_with_the_specialists_of_one(folder):
    one, two = (
        load_file(folder / f"specialists{count}" / "specialists.safetensors") for count in (1, 2)
    )
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert any(value.any() for name, value in two.items() if name.endswith("up.weight"))
    assert len({made["images_sha256"] for made in records(folder, "specialists")}) == 1


def test_the_twin_of_the_base_tier_learns_in_two_processes_and_goes_on_after_a_kill(folder):
    made = records(folder, "tier")
    assert [one["processes"] for one in made] == [1, 2]
    found = []
    for count in (1, 2):
        model = Tier(blocks=1).twin().build("cpu", seed=1)
        load_sharded(folder / f"tier{count}" / "backbone", model)
        found.append(dict(model.named_parameters()))
    begun = dict(Tier(blocks=1).twin().build("cpu").named_parameters())
    assert not torch.equal(found[1]["blocks.0.moe.bank.w1_EHD"], begun["blocks.0.moe.bank.w1_EHD"])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-2, atol=2e-4, msg=name)
    curves = [one["curves"] for one in made]
    assert [one["step"] for one in curves[1]] == [one["step"] for one in curves[0]] == [0, 5]
    assert curves[1][-1]["loss"] == pytest.approx(curves[0][-1]["loss"], rel=1e-2)
