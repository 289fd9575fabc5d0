"""A kit's reader makes items of its inputs; the engine answers them, with its journal."""

import json

import numpy as np
import pytest
from lightning.fabric import Fabric
from PIL import Image

from moekit import Registry, Runtime
from moekit.jobs.predict import predict_inputs
from moekit.jobs.trained import Opening
from moekit.jobs.watch import watch_folder
from moekit.runs.run import Run
from moekit.testing import refused
from moekit.testing.inputs import write_images
from moekit.testing.reference import SIDE, small_backbone
from moekit.training.adapt import AdaptJob, adapt

HOOKS = """
import json

import numpy as np
from PIL import Image

import moekit
from moekit import ImageError


class Volumes:
    def items(self, paths):
        for path in paths:
            for number, plane in enumerate(np.load(path)):
                name = f"{path.stem}/{number:02}"
                if plane.any():
                    yield name, [Image.fromarray(plane).convert("RGB")]
                else:
                    yield name, ImageError("the slice is empty", whose=name, fix="leave it out")

    def gather(self, rows, out):
        volumes = {}
        for row in rows:
            if row["score"] is not None:
                volumes.setdefault(row["file"].split("/")[0], []).append(row["score"])
        worst = {name: max(scores) for name, scores in volumes.items()}
        (out / "volumes.json").write_text(json.dumps(worst))
        return {"volumes": len(worst)}


@moekit.hookimpl
def moekit_kits():
    return [
        moekit.KitSpec(
            name="volumes", summary="-", slots=(), head_blocks=(-1,), build_head=moekit.PooledHead,
            recipe=moekit.Recipe(
                image_size=28, precision="fp32", views=1, epochs=1, baseline_epochs=1
            ),
            metrics=("auroc",), positive="odd",
            outcome_names={"missed": "-", "false_alarm": "-"}, demo_dataset="folder",
            reader=Volumes(),
        )
    ]
"""


@pytest.fixture
def run(install, tmp_path, monkeypatch):
    """A run of a kit whose inputs are volumes, on a small backbone."""
    install("volumes", hooks=HOOKS, manifest={"provides": {"kits": ["volumes"]}})
    for place in ("jobs.session.open_backbone", "training.adapt.cache_folder"):
        made = small_backbone() if "backbone" in place else tmp_path / "cache"
        monkeypatch.setattr(f"moekit.{place}", lambda made=made, **_: made)
    (tmp_path / "images").mkdir()
    registry = Registry()
    kit = registry.kit("volumes")
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    adapt(
        AdaptJob(
            kit=kit,
            dataset=write_images(tmp_path / "images", None, side=SIDE),
            run=Run(tmp_path / "run"),
            seed=0,
            recipe=kit.recipe,
        ),
        backbone=small_backbone(),
        registry=registry,
        fabric=fabric,
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )
    return tmp_path / "run"


@pytest.fixture
def volumes(tmp_path):
    """Two volumes of five slices; the third slice of the second one is empty."""
    paths = [tmp_path / f"{name}.npy" for name in ("left", "right")]
    for seed, path in enumerate(paths):
        planes = np.random.default_rng(seed).integers(1, 256, (5, 20, 30), dtype=np.uint8)
        planes[2] *= path.stem == "left"
        np.save(path, planes)
    return paths


def predicted(run, volumes, out):
    seen = []
    summary = predict_inputs(
        "volumes",
        inputs=volumes,
        run_folder=run,
        out=out,
        batch_size=4,
        how=Opening(precision="fp32"),
        on_progress=lambda *told: seen.append(told),
    )
    return summary, seen


def test_items_are_answered_and_gathered_and_a_killed_command_goes_on(run, volumes, tmp_path):
    summary, seen = predicted(run, volumes, tmp_path / "out")
    assert (summary["n"], summary["unreadable"], summary["volumes"]) == (10, 1, 2)
    rows = summary["predictions"]
    assert [row["file"] for row in rows][4:8] == ["left/04", "right/00", "right/01", "right/02"]
    assert rows[7]["error"] == "the slice is empty"
    assert (tmp_path / "out" / rows[0]["overlay"]).is_file()
    worst = json.loads((tmp_path / "out/volumes.json").read_text())
    assert worst["left"] == max(row["score"] for row in rows[:5])
    assert seen[-1] == ("items", 10, 10)
    journal = tmp_path / "out/predictions.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:5]) + lines[5][:9])
    again, seen = predicted(run, volumes, tmp_path / "out")
    assert seen[-1] == ("items", 6, 6)
    assert again["volumes"] == 2
    for before, after in zip(rows, again["predictions"], strict=True):
        # Batches of another make-up may round otherwise (row independence holds to 1e-5).
        assert (before.pop("score") or 0) == pytest.approx(after.pop("score") or 0, abs=1e-5)
        regions = after.pop("regions") or []
        assert (before.pop("regions") or []) == [pytest.approx(one, abs=1e-4) for one in regions]
        assert before == after


def test_items_are_answered_as_their_pictures_are(run, volumes, tmp_path, reads):
    summary, _ = predicted(run, volumes[:1], tmp_path / "out")
    assert reads[run / "run.json"] == 1
    runtime = Runtime(small_backbone())
    runtime.load(run)
    pictures = [Image.fromarray(plane).convert("RGB") for plane in np.load(volumes[0])]
    answers = runtime.answer(pictures, kit="volumes", batch_size=4)
    assert [answer.as_row()["score"] for answer in answers] == [
        row["score"] for row in summary["predictions"]
    ]


def test_names_that_are_not_unique_and_a_watch_are_refused(run, volumes, tmp_path):
    with refused("usage/same-name", match="left/00"):
        predicted(run, [volumes[0], volumes[0]], tmp_path / "out")
    with refused("usage/not-for-task"):
        watch_folder(
            "volumes",
            folder=tmp_path,
            run_folder=run,
            out=tmp_path / "line",
            stop=None,
            tell=lambda _: None,
        )
