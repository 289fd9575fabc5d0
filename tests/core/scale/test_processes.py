"""Many processes compute, train and store what one does."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.distributed.device_mesh import DeviceMesh

from moekit.moe.exchange import ExpertParallel
from moekit.scale.checkpoint import load_sharded, save_sharded
from moekit.scale.plan import make_plan
from moekit.scale.tier import Tier
from moekit.testing import refused

SCRIPT = Path(__file__).with_name("parity_in_processes.py")
CLOSE = 1e-5
Outcome = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module, for its models and images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        spec = importlib.util.spec_from_file_location("parity_in_processes", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stepped(script: ModuleType) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """What one process ends with after a step on the images of process 0, on one thread.

    Another number of threads adds up in another order, and the first step of Adam on a gradient
    near zero is the sign of a rounding error.
    """
    assert torch.get_num_threads() == 1
    backbone = script.make_backbone()
    optimiser = torch.optim.AdamW(backbone.parameters(), lr=1e-2)
    script.scalar(backbone(script.images_of(0)).final_BND).backward()
    optimiser.step()
    return backbone, optimiser


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    stepped: tuple[torch.nn.Module, torch.optim.Optimizer],
) -> Path:
    """Holds the checkpoint of one process, and later those of others."""
    path = tmp_path_factory.mktemp("processes")
    save_sharded(path / "one", *stepped)
    return path


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[int, Outcome]:
    """What two processes found next to one, and four in two rows; one program starts them all."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), "2", "4"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {count: json.loads((folder / f"outcome{count}.json").read_text()) for count in (2, 4)}


@pytest.fixture(scope="module")
def two(outcomes: dict[int, Outcome]) -> Outcome:
    """Two processes, next to one."""
    return outcomes[2]


@pytest.fixture(scope="module")
def four(outcomes: dict[int, Outcome]) -> Outcome:
    """Four processes in two rows, next to one."""
    return outcomes[4]


@pytest.mark.parametrize(
    "name",
    [
        "even",
        "uneven",
        "a process without images",
        "experts without tokens",
        "unit weights",
        "all experts",
        "expert choice",
    ],
)
def test_a_layer_spread_over_two_processes_is_the_layer_of_one(two: Outcome, name: str) -> None:
    found = two[f"layer: {name}"]
    routed = {"router"} if name not in ("unit weights", "all experts") else set()
    bank = {"w1_EHD", "b1_EH", "w2_EHD", "b2_D"}
    assert found.keys() == {"inputs", "outputs"} | bank | routed
    assert max(found.values()) <= CLOSE, found


@pytest.mark.parametrize("mesh", ["mesh 2x1", "mesh 1x2"])
def test_two_processes_train_a_backbone_as_one_does(two: Outcome, mesh: str) -> None:
    assert two[mesh].keys() == {"outputs", "gradients", "norm", "weights", "bias"}
    assert max(two[mesh].values()) <= CLOSE, two[mesh]


def test_blocks_in_bfloat16_stay_near_and_sum_gradients_in_float32(two: Outcome) -> None:
    assert 1e-5 < max(two["bfloat16"].values()) < 0.1, two["bfloat16"]


def test_data_and_expert_parallelism_together_train_as_one_process_does(four: Outcome) -> None:
    assert max(four["mesh 2x2"].values()) <= CLOSE, four["mesh 2x2"]


def test_what_one_process_stored_is_read_by_two_and_by_four(two: Outcome, four: Outcome) -> None:
    assert two["loaded"] == four["loaded"] == {"weights": 0.0, "moments": 0.0}


def test_what_two_processes_stored_is_read_by_one(
    script: ModuleType, two: Outcome, folder: Path
) -> None:
    expected, found = script.make_backbone(), script.make_backbone()
    adam = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in (expected, found)]
    images = [script.images_of(rank) for rank in range(2)]
    (sum(script.scalar(expected(batch).final_BND) for batch in images) / 2).backward()
    adam[0].step()
    load_sharded(folder / "two", found, adam[1])
    for mine, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        for key, value in adam[0].state[theirs].items():
            torch.testing.assert_close(adam[1].state[mine][key], value, rtol=1e-3, atol=1e-5)
        # Where a gradient is nearly zero, Adam's first step is the sign of a rounding error.
        sure = adam[0].state[theirs]["exp_avg"].abs() > 1e-6
        torch.testing.assert_close(mine[sure], theirs[sure], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_holds_safetensors_and_their_hashes(two: Outcome, folder: Path) -> None:
    for name, parts in (("one", 1), ("two", 2)):
        files = sorted(file.name for file in (folder / name).iterdir())
        weights = [file for file in files if file.endswith(".safetensors")]
        assert len(weights) == parts
        assert files == sorted([*weights, "hashes.json"])


def test_the_shallow_twin_learns_in_two_processes(two: Outcome) -> None:
    assert two["twin"]["last"] < 0.8 * two["twin"]["first"]


def test_a_process_holds_the_share_that_the_plan_says(script: ModuleType, two: Outcome) -> None:
    plan = make_plan(script.SHALLOW, gpus=2, expert=2, arithmetic="fp32")
    assert two["twin"]["share"] == pytest.approx(plan.memory_bytes_per_gpu.weights / 4, abs=1)


def test_a_checkpoint_is_never_written_over(
    folder: Path, stepped: tuple[torch.nn.Module, torch.optim.Optimizer]
) -> None:
    with refused("storage/exists"):
        save_sharded(folder / "one", *stepped)


def test_a_checkpoint_of_another_model_is_refused(
    folder: Path, script: ModuleType, tmp_path: Path
) -> None:
    with refused("weights/not-found"):
        load_sharded(tmp_path / "nowhere", script.make_backbone())
    other = Tier().twin().model_copy(update={"blocks": 1}).build("cpu")
    with refused("weights/damaged"):
        load_sharded(folder / "one", other)


def test_a_damaged_checkpoint_is_refused(folder: Path, script: ModuleType, tmp_path: Path) -> None:
    (source,) = (folder / "one").glob("*.safetensors")
    (tmp_path / source.name).write_bytes(source.read_bytes()[:-1000])
    with refused("weights/damaged"):
        load_sharded(tmp_path, script.make_backbone())
    shutil.copy(folder / "one" / "hashes.json", tmp_path)
    load_sharded(folder / "one", script.make_backbone())
    content = bytearray(source.read_bytes())
    content[-1] ^= 1
    (tmp_path / source.name).write_bytes(content)
    with refused("weights/damaged", match=source.name):
        load_sharded(tmp_path, script.make_backbone())
    (tmp_path / source.name).unlink()
    with refused("weights/damaged"):
        load_sharded(tmp_path, script.make_backbone())


def test_only_a_layer_of_experts_can_be_spread() -> None:
    with refused("usage/no-experts"):
        ExpertParallel()._apply(torch.nn.Linear(2, 2), DeviceMesh.__new__(DeviceMesh))
