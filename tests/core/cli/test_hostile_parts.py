"""A plugin's expert, gate, head, metric, task or loader that fails at run time names its owner."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moekit.testing.reference import SIDE, small_backbone

HOOKS = """
import dataclasses
import os
import logging
import sys
import warnings
from pathlib import Path

import torch

import moekit
from moekit.tasks.score import SCORE

MODE = ""


def fails(part):
    if MODE == part:
        raise RuntimeError("broken\\x1b[2J " + part)
    if MODE == f"{part} exits":
        raise SystemExit(0)
    if MODE == f"{part}'s pipe":
        raise BrokenPipeError(32, "Broken pipe")
    if MODE == f"{part} hides":
        sys.excepthook = sys.stdout = sys.stderr = None
        raise RuntimeError(part)
    if MODE == f"{part} moves":
        os.chdir(Path(__file__).parent)
        torch.set_default_dtype(torch.float64)
    if MODE == f"{part} moves" and part not in ("expert", "gate"):
        os.umask(0o777)
        os.environ.clear()
        torch.set_num_threads(3)
        torch.manual_seed(0)
        warnings.simplefilter("error")
        logging.disable(logging.CRITICAL)


class Expert(torch.nn.Module):
    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.up = torch.nn.Linear(width, width)
        torch.nn.init.zeros_(self.up.weight)
        torch.nn.init.zeros_(self.up.bias)

    def forward(self, x_TD):
        fails("expert")
        y_TD = self.up(x_TD)
        if MODE == "expert's numbers":
            return y_TD.long()
        return y_TD[:-1] if MODE == "expert's shape" else y_TD


class Gate(moekit.TopKSoftmax):
    def __call__(self, scores_BNE, *, k, bias_E=None):
        fails("gate")
        routing = super().__call__(scores_BNE, k=k, bias_E=bias_E)
        return scores_BNE if MODE == "gate's type" else routing


class Head(moekit.PooledHead):
    def forward(self, tokens, grid):
        fails("head")
        outputs = super().forward(tokens, grid)
        return "nothing" if MODE == "head's type" else outputs


def metric(scores, labels, threshold):
    fails("metric")
    return 2.0 if MODE == "metric's bounds" else 0.5


def answers(outputs, items, point, context):
    fails("task")
    found = SCORE.answering.answers(outputs, items, point, context)
    return found[:-1] if MODE == "task's count" else found


def loss(outputs, targets, recipe):
    fails("loss")
    return SCORE.learn.loss(outputs, targets, recipe)


def load(path, seed):
    fails("loader")
    samples = []
    for split, count in (("train", 8), ("val", 8), ("test", 8)):
        for number in range(count):
            name = f"{split}/{number}.png"
            samples.append(moekit.Sample(
                id=name, path=path / name, label=number % 2, split=split, group=name))
    first = samples[0]
    changes = {
        "duplicate ids": {"id": samples[1].id},
        "split name": {"split": "valid"},
        "label": {"label": 2},
        "target": {"target": float("nan")},
        "group": {"group": samples[-1].group},
        "no path": {"path": str(first.path)},
        "no split": {"split": None},
    }
    samples[0] = dataclasses.replace(first, **changes.get(MODE, {}))
    return moekit.Dataset(name="parts", samples=tuple(samples), classes=("good", "odd"))


TASK = dataclasses.replace(
    SCORE,
    name="grade",
    answering=dataclasses.replace(SCORE.answering, answers=answers),
    learn=dataclasses.replace(SCORE.learn, loss=loss),
)


@moekit.hookimpl
def moekit_experts():
    return [moekit.ExpertSpec(name="bad", build=Expert, summary="-", source="-")]


@moekit.hookimpl
def moekit_gates():
    return [moekit.GateSpec(name="bad", build=Gate, summary="-", source="-")]


@moekit.hookimpl
def moekit_metrics():
    return [moekit.MetricSpec(name="half", compute=metric, higher_is_better=True, task="grade",
        bounds=(0.0, 1.0), summary="-", source="-")]


@moekit.hookimpl
def moekit_tasks():
    return [TASK]


@moekit.hookimpl
def moekit_datasets():
    return [moekit.DatasetSpec(
        name="parts", load=load, summary="-", takes_path="required", licence="CC0-1.0")]


@moekit.hookimpl
def moekit_kits():
    return [moekit.KitSpec(
        name="hostile", summary="-", task="hostile/grade", head_blocks=(-1,), build_head=Head,
        slots=(moekit.SpecialistSlot(block=-1, experts=("bad",), gate="bad", top_k=2),),
        recipe=moekit.Recipe(
            image_size=28, precision="fp32", views=1, epochs=1, baseline_epochs=1, batch_size=8),
        metrics=("half",), positive="odd", demo_dataset="parts",
        outcome_names={"missed": "-", "false_alarm": "-"})]
"""
PROVIDES = {
    "experts": ["bad"],
    "gates": ["bad"],
    "metrics": ["half"],
    "tasks": ["grade"],
    "datasets": ["parts"],
    "kits": ["hostile"],
}


@pytest.fixture
def hostile(install, tmp_path, monkeypatch):
    """Installs the plugin and its images; gives the function that says which part fails."""
    install("hostile", hooks=HOOKS, manifest={"api": "2.0", "provides": PROVIDES})
    for job in ("adapt", "session"):
        monkeypatch.setattr(f"moekit.jobs.{job}.open_backbone", lambda **_: small_backbone())
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: tmp_path / "cache")
    draw = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number in range(8):
            path = tmp_path / "parts" / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)

    def fail(part):
        monkeypatch.setattr(sys.modules["hostile.hooks"], "MODE", part)

    return fail


AT_RUN_TIME = {
    "expert": ("adapt", "evaluate", "predict", "export"),
    "expert exits": ("evaluate",),
    "expert's numbers": ("adapt", "evaluate", "predict"),
    "expert's shape": ("evaluate", "predict"),
    "gate": ("adapt", "evaluate", "predict"),
    "gate's type": ("evaluate",),
    "head": ("adapt", "evaluate", "predict"),
    "head's type": ("predict",),
    "metric": ("evaluate",),
    "metric exits": ("evaluate",),
    "metric's bounds": ("evaluate",),
    "expert's pipe": ("evaluate", "predict"),
    "metric's pipe": ("evaluate",),
    "task's pipe": ("predict",),
    "loss's pipe": ("adapt",),
    "loader's pipe": ("evaluate",),
    "metric hides": ("evaluate",),
    "task hides": ("predict",),
    "loss hides": ("adapt",),
    "loader hides": ("evaluate",),
    "task": ("predict",),
    "task exits": ("predict",),
    "task's count": ("predict",),
    "loss": ("adapt",),
    "loader": ("adapt", "evaluate"),
}
OF_LOADER = {
    "duplicate ids": (4, "data/duplicate-id"),
    "group": (4, "data/leaking-group"),
    "split name": (3, "plugin/bad-dataset"),
    "label": (3, "plugin/bad-dataset"),
    "target": (3, "plugin/bad-dataset"),
    "no path": (3, "plugin/bad-dataset"),
    "no split": (3, "plugin/bad-dataset"),
}


def test_each_part_that_fails_names_its_plugin(hostile, moekit, tmp_path):
    run, data = tmp_path / "run", f"parts={tmp_path / 'parts'}"
    made = moekit("adapt", "hostile", "--data", data, "--out", run)
    assert made.code == 0, made.err
    wrong = []
    for part, commands in AT_RUN_TIME.items():
        hostile(part)
        for number, command in enumerate(commands):
            out = tmp_path / f"{part}-{number}"
            arguments = {
                "adapt": ("--data", data, "--out", out),
                "evaluate": ("--data", data, "--run", run),
                "export": ("--data", data, "--run", run, "--format", "onnx"),
                "predict": (tmp_path / "parts" / "test", "--run", run, "--out", out),
            }[command]
            outcome = moekit(command, "hostile", *arguments)
            told = outcome.err.partition("moekit: ")[2].splitlines()
            named = len(told) == 3 and "hostile" in told[1] and told[1].startswith("  where:")
            clean = "Traceback" not in outcome.err and "\x1b" not in outcome.err
            if outcome.code != 3 or not named or not clean:
                wrong.append((part, command, outcome.code, outcome.err[-600:]))
    assert not wrong
    for part, (code, word) in OF_LOADER.items():
        hostile(part)
        outcome = moekit("evaluate", "hostile", "--data", data, "--run", run)
        assert (outcome.code, f"[{word}]" in outcome.err) == (code, True), (part, outcome.err)
        assert "the loader parts of hostile 1.0" in outcome.err
    hostile("")
    assert moekit("evaluate", "hostile", "--data", data, "--run", run, "--json").json["n"] == 8


def test_a_part_that_changes_folder_and_settings_leads_nothing_elsewhere(
    hostile, moekit, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    data = ("--data", "parts=parts")
    assert moekit("adapt", "hostile", *data, "--out", "run").code == 0
    found = []
    parts = ("", "expert moves", "metric moves", "loader moves", "task moves")
    for number, part in enumerate(parts):
        hostile(part)
        answered = moekit("predict", "hostile", "parts/test", "--run", "run", "--out", f"o{number}")
        judged = moekit("evaluate", "hostile", *data, "--run", "run", "--json")
        assert (answered.code, judged.code) == (0, 0), (part, answered.err, judged.err)
        assert Path.cwd() == tmp_path
        rows = (tmp_path / f"o{number}" / "predictions.csv").read_text()
        found.append((rows, judged.json["metrics"]))
    assert found == [found[0]] * len(parts)
    weights = (tmp_path / "run" / "kit.safetensors").read_bytes()
    for number, part in enumerate(("loader moves", "loss moves")):
        hostile(part)
        assert moekit("adapt", "hostile", *data, "--out", f"again{number}").code == 0
        made = tmp_path / f"again{number}" / "kit.safetensors"
        assert made.read_bytes() == weights
        assert made.stat().st_mode & 0o777 == (tmp_path / "run/run.json").stat().st_mode & 0o777


def test_a_run_or_an_output_that_cannot_be_written_is_told_before_anything_is_scored(
    hostile, moekit, tmp_path, read_only, monkeypatch
):
    run, data = tmp_path / "run", f"parts={tmp_path / 'parts'}"
    assert moekit("adapt", "hostile", "--data", data, "--out", run).code == 0
    assert moekit("evaluate", "hostile", "--data", data, "--run", run).code == 0
    hostile("expert")  # whatever is scored fails
    images, closed = tmp_path / "parts" / "test", tmp_path / "closed"
    closed.mkdir()
    read_only(run)
    read_only(closed)
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("evaluate", "hostile", "--data", data, "--run", run),
        ("report", run),
        ("export", "hostile", "--data", data, "--run", run),
        ("adapt", "hostile", "--data", data, "--out", closed / "run"),
        ("predict", "hostile", images, "--run", run, "--out", closed / "out"),
        ("predict", "hostile", images, "--run", run, "--out", closed),
        ("watch", "hostile", images, "--run", run, "--out", closed / "line", "--once"),
    ):
        outcome = moekit(*arguments)
        assert outcome.code == 1, outcome.err
        assert "[storage/cannot-write]" in outcome.err
        assert "Traceback" not in outcome.err
    assert list(closed.iterdir()) == []


def test_a_plugin_that_prints_at_run_time_does_not_spoil_the_json(hostile, moekit, tmp_path):
    run, data = tmp_path / "run", f"parts={tmp_path / 'parts'}"
    hooks = tmp_path / "site" / "hostile" / "hooks.py"
    hooks.write_text(hooks.read_text().replace('fails("expert")', 'print("noise")'))
    made = moekit("adapt", "hostile", "--data", data, "--out", run, "--json")
    assert made.json["done"]
    assert "noise" in made.err


def test_weights_that_are_a_pipe_or_a_device_are_refused(tmp_path):
    """In a process of its own, which a test may end when it waits for a pipe."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from torch import nn\n"
        "from moekit.backbone.sources import find_weights\n"
        "from moekit.backbone.sparse.form import load_form\n"
        "from moekit.errors import WeightsError\n"
        "from moekit.runs.run import Run\n"
        "folder = Path(sys.argv[1])\n"
        "os.mkfifo(folder / 'kit.safetensors')\n"
        "(folder / 'baseline.safetensors').symlink_to('/dev/zero')\n"
        "for part in ('kit', 'baseline'):\n"
        "    for read in (\n"
        "        lambda: find_weights('x', str(folder / f'{part}.safetensors')),\n"
        "        lambda: load_form(folder / f'{part}.safetensors'),\n"
        "        lambda: Run(folder).load_weights(part, nn.Linear(1, 1), expected='0' * 64),\n"
        "    ):\n"
        "        try:\n"
        "            read()\n"
        "        except WeightsError as error:\n"
        "            print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["weights/not-found", "weights/damaged", "weights/damaged"] * 2
