"""The task `score` computes what it did before there were tasks, to the byte.

The commit before the task contract is checked out next to this one. Both run the same small
commands: two classes, good images only, a set of stacks, averaged views, and an export in int8.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
BEFORE = "de3caf55d65c358d6450255cad1237141287dc0f"
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_score_unchanged.py"
VOLATILE = {"created", "command", "machine", "versions", "plugins", "throughput", "task", "seconds"}
QUICK = ("--epochs", "2", "--precision", "fp32")
STACKS = """
import moekit

def load(path, seed):
    samples = [
        moekit.Sample(
            id=file.name, path=file, label=int(file.stem[-1]), split=file.name.split("-")[0]
        )
        for file in sorted(path.glob("*.tif"))
    ]
    return moekit.Dataset(
        name="stackset", samples=tuple(samples), classes=("plain", "odd"), frames=3)

@moekit.hookimpl
def moekit_datasets():
    return [moekit.DatasetSpec(
        name="stackset", load=load, summary="stacks", takes_path="required", licence="-")]
"""
MANIFEST = """name = "stackset"
api = "1.0"
summary = "stacks of the comparison"
domain = "any"
hooks = "stackset.hooks"

[provides]
datasets = ["stackset"]
"""

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Real solar cells as a folder of two classes, a set of good ones, and stacks."""
    pytest.importorskip("elpv_dataset")
    folder = tmp_path_factory.mktemp("data")
    source = Path(str(importlib.resources.files("elpv_dataset"))) / "data"
    rows = [line.split() for line in (source / "labels.csv").read_text().splitlines()]
    cells = {value: [row[0] for row in rows if row[1] == value][:60] for value in ("0.0", "1.0")}
    for name, files in (("good", cells["0.0"]), ("defective", cells["1.0"])):
        for number, file in enumerate(files[:40]):
            split = ("train", "val", "test", "train")[number % 4]
            _copy(source / file, folder / "two" / split / name / Path(file).name)
    for number, file in enumerate(cells["0.0"][:40]):
        split = "test" if number % 4 == 3 else "train"
        _copy(source / file, folder / "normal" / split / "good" / Path(file).name)
    for file in cells["1.0"][:10]:
        _copy(source / file, folder / "normal" / "test" / "defective" / Path(file).name)
    (folder / "stacks").mkdir()
    for number in range(36):
        label = number % 2
        names = [*cells["0.0"][number : number + 2], cells[f"{label}.0"][number]]
        pages = [Image.open(source / name).convert("L").resize((64, 64)) for name in names]
        split = ("train", "val", "test", "train")[number // 2 % 4]
        path = folder / "stacks" / f"{split}-{number:02}-{label}.tif"
        pages[0].save(path, save_all=True, append_images=pages[1:])
    package = folder / "site" / "stackset"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "hooks.py").write_text(STACKS)
    (package / "plugin.toml").write_text(MANIFEST)
    info = folder / "site" / "stackset-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stackset\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[moekit.plugins]\nstackset = stackset:plugin.toml\n")
    return folder


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A checkout of the commit before."""
    folder = tmp_path_factory.mktemp("before") / "checkout"
    made = subprocess.run(
        ["git", "worktree", "add", "--detach", str(folder), BEFORE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"the earlier commit is not in this clone: {made.stderr.strip()}")
    yield folder
    subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=False)


def _copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def run_all(checkout, data, out):
    """All commands with the code of a checkout; what they leave lies in `out`."""
    members = [checkout / "core", *checkout.glob("domain_kits/*"), *checkout.glob("plugins/*")]
    paths = [*(str(path) for path in members if path.is_dir()), str(data / "site")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "MOEKIT_CACHE_DIR": str(out / "cache"),
        "MOEKIT_CONFIG_DIR": str(out / "config"),
        "OMP_NUM_THREADS": "1",
    }

    def moekit(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "moekit", *map(str, arguments)],
            env=environment,
            cwd=out,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{checkout.name}: {arguments}\n{done.stderr[-3000:]}"

    runs = {
        "two": ("industrial", f"folder={data / 'two'}", ("--image-size", "112")),
        "normal": ("industrial", f"folder={data / 'normal'}", ("--image-size", "112")),
        "views": ("medical", f"folder={data / 'two'}", ("--image-size", "56")),
        "stacks": ("medical", f"stackset={data / 'stacks'}", ("--image-size", "56")),
    }
    for name, (kit, source, options) in runs.items():
        moekit("adapt", kit, "--data", source, "--out", name, *QUICK, *options)
        moekit("evaluate", kit, "--data", source, "--run", name)
    moekit("predict", "industrial", data / "two" / "test", "--run", "two", "--out", "predicted")
    moekit(
        "export",
        "industrial",
        "--run",
        "two",
        "--data",
        runs["two"][1],
        "--int8",
        "--max-loss",
        "1",
    )


def same_json(before, after, path=""):
    """Where two JSON values differ, apart from what changes with time and machine."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before:
            if name in VOLATILE or _changed_on_purpose(after, f"{path}/{name}"):
                continue
            if name not in after:
                yield f"{path}/{name} is gone"
            else:
                yield from same_json(before[name], after[name], f"{path}/{name}")
    elif before != after and not _both_nan(before, after):
        yield f"{path}: {before!r} became {after!r}"


def _changed_on_purpose(after, path):
    """Intervals of shares and of paired differences, and what a baseline is called."""
    interval = path.endswith("/ci95") and ("share" in after or "/comparison/metrics/" in path)
    return interval or path.endswith("/baseline/name")


def _both_nan(first, second):
    return (
        isinstance(first, float) and isinstance(second, float) and np.isnan([first, second]).all()
    )


def test_scores_are_what_they_were_before_there_were_tasks(data, earlier, tmp_path, record_figure):
    folders = {}
    for name, checkout in (("before", earlier), ("after", ROOT)):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        run_all(checkout, data, folders[name])
    before, after = folders["before"], folders["after"]
    differences = []
    for path in sorted(before.rglob("*.csv")):
        if "cache" not in path.parts:
            name = path.relative_to(before)
            pairs = zip(
                *((side / name).read_text().splitlines() for side in folders.values()), strict=True
            )
            other = [pair for pair in pairs if pair[0] != pair[1]]
            if other:
                differences.append(f"{name}: {len(other)} lines, such as {other[0]}")
    for run in ("two", "normal", "views", "stacks"):
        for name in ("result.json", "routing.json"):
            old, new = (json.loads((side / run / name).read_text()) for side in (before, after))
            if name == "routing.json":
                assert new["generic"] == [], "every token has every expert"
                del old["generic"]
            differences += [f"{run}/{name}{one}" for one in same_json(old, new)]
    record_figure("score.unchanged", float(not differences), command=COMMAND, seeds=(0,))
    assert not differences, "\n".join(differences)
