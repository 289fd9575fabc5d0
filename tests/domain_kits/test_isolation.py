"""Law 1 with the kits that ship: what the industrial kit computes does not know the medical kit.

Laws of the runtime with kits of the tests are in tests/core/runtime/test_laws.py.
"""

import csv
import subprocess

import pytest
import torch
from torch import nn

from moekit import Registry, Runtime
from moekit.testing.child import child_command, child_environment

SIDE = 112


def moved(modules, *, seed):
    """All parameters of a kit moved, as training would."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in modules.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=numbers))
    return modules


def outputs(runtime, images):
    """The industrial kit's features, scores and maps, and the bare backbone's features."""
    predicted = runtime.predict(images, kit="industrial")
    return [
        runtime.features(images).final_BND,
        runtime.features(images, kit="industrial").final_BND,
        predicted["logit_B"],
        predicted["map_BHW"],
    ]


def same(before, after):
    pairs = zip(before, after, strict=True)
    return all(one.numpy().tobytes() == two.numpy().tobytes() for one, two in pairs)


def train_a_step(modules, backbone, images):
    modules.train()
    optimizer = torch.optim.AdamW(modules.parameters(), lr=0.1)
    with torch.no_grad():
        tokens, grid = backbone.embed(images)
        tokens, kept = backbone.run_blocks(
            tokens, grid, stop=modules.prefix_end, keep=modules.prefix_keep
        )
    logit_B = modules(backbone, tokens, kept, grid)["logit_B"]
    nn.functional.binary_cross_entropy_with_logits(logit_B, torch.ones(len(images))).backward()
    optimizer.step()
    modules.eval()


@pytest.mark.parametrize("top_k", [16, 4])
def test_the_medical_kit_changes_no_bit_of_the_industrial_kit(backbone, photos, top_k):
    images = photos[:2, :, :SIDE, :SIDE]
    backbone.top_k = top_k
    runtime = Runtime(backbone, registry=Registry())
    moved(runtime.attach("industrial"), seed=1)
    before = outputs(runtime, images)
    assert not same(before[:1], before[1:2]), "the kit's specialists do nothing"
    medical = moved(runtime.attach("medical"), seed=2)
    assert same(before, outputs(runtime, images)), "attached"
    first = runtime.predict(images, kit="medical")
    train_a_step(medical, backbone, images)
    trained = runtime.predict(images, kit="medical")
    assert not torch.equal(first["logit_B"], trained["logit_B"]), "the step trained nothing"
    assert same(before, outputs(runtime, images)), "adapted"
    runtime.detach("medical")
    assert same(before, outputs(runtime, images)), "removed"


def command(*arguments, **variables):
    """The files and the output of `moekit ARGUMENTS` in a process of its own."""
    done = subprocess.run(
        child_command("-m", "moekit", *map(str, arguments)),
        env=child_environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_scores_and_maps_on_solar_cells_are_the_same_with_the_medical_plugin_and_without(
    industrial_run, medical_run, cells, tmp_path
):
    """One process if it is switched off, one if it is installed and was adapted."""
    pictures = [next((cells / name).iterdir()) for name in ("good", "cracked")]
    states, found = [], []
    for name, off in (("without", "moekit-medical"), ("with", "")):
        predict = ("predict", "industrial", *pictures, "--run", industrial_run)
        command(*predict, "--out", tmp_path / name, MOEKIT_DISABLE_PLUGINS=off)
        states.append(command("kits", MOEKIT_DISABLE_PLUGINS=off).stdout)
        found.append(contents(tmp_path / name))
    assert "medical" not in states[0]
    assert "medical" in states[1]
    assert found[0] == found[1]
    rows = list(csv.DictReader(found[0]["predictions.csv"].decode().splitlines()))
    assert len({row["score"] for row in rows}) == len(pictures)
    assert sum(name.endswith(".jpg") for name in found[0]) == len(pictures)
