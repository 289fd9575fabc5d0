"""Stacks of frames, from the files to the scores: stored, trained on, resumed, evaluated."""

import csv
import dataclasses
import functools
import hashlib
import json

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from PIL import Image
from torch import nn

import moekit
from moekit import Dataset, Sample
from moekit.data.stream import Preprocess, image_batches
from moekit.data.views import view
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.plugins.changes import kit_of_frames
from moekit.prediction.predict import predict
from moekit.runs.run import Run
from moekit.runtime.kit import KitModules
from moekit.runtime.load import load_answerer
from moekit.runtime.predictor import Predictor
from moekit.sealed import write_sealed
from moekit.tasks.score import SCORE
from moekit.tasks.score.head import PooledHead
from moekit.testing import refused
from moekit.training.prefix import open_prefix
from moekit.training.prefix_plan import PrefixPlan

FRAMES = 3


class NextFrame(nn.Module):
    """Looks at the frame that follows; zero at the start."""

    reads_map = True

    def __init__(self, width):
        super().__init__()
        self.up = nn.Linear(width, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND, grid):
        x_STND = x_BND.unflatten(0, (-1, grid.frames))
        following = torch.cat([x_STND[:, 1:], torch.zeros_like(x_STND[:, :1])], dim=1)
        return self.up(following.flatten(0, 1))


class StackHooks:
    @moekit.hookimpl
    def moekit_experts(self):
        return [moekit.ExpertSpec(name="next", build=NextFrame, summary="-", source="-")]


@pytest.fixture
def kit(kit, registry):
    registry.register(StackHooks(), distribution="stacks")
    head = functools.partial(PooledHead, hidden=8, dropout=0.0)
    return dataclasses.replace(kit, build_head=head, stack_experts=("next",))


@pytest.fixture
def recipe(recipe):
    return recipe.model_copy(update={"epochs": 2, "baseline_epochs": 1, "batch_size": 4})


@pytest.fixture
def stacks(cells, tmp_path):
    """24 stacks of real solar cells; the last of the three frames says the class."""
    folder = tmp_path / "stacks"
    folder.mkdir()
    samples = []
    for number, last in enumerate(cells.samples[:24]):
        frames = [cells.samples[(number + by) % 60] for by in (17, 31)]
        images = [Image.open(one.path).convert("L").resize((40, 40)) for one in (*frames, last)]
        path = folder / f"{number:02}.tif"
        images[0].save(path, save_all=True, append_images=images[1:])
        split = ("train", "val", "test", "train")[number // 2 % 4]
        samples.append(Sample(id=path.name, path=path, label=number % 2, split=split))
    return Dataset(name="stacks", samples=tuple(samples), classes=("plain", "odd"), frames=FRAMES)


def run_evaluate(folder, dataset, kit, small_backbone, registry):
    return evaluate(
        EvaluateJob(kit=kit, dataset=dataset, run=Run(folder), batch_size=5),
        backbone=small_backbone,
        registry=registry,
        on_progress=lambda *_: None,
    )


def test_stored_stacks_are_those_of_the_backbone(kit, registry, small_backbone, stacks, tmp_path):
    spec = dataclasses.replace(kit, slots=kit.slots[1:])
    modules = KitModules(spec=spec, registry=registry, backbone=small_backbone)
    plan = PrefixPlan.of(
        modules, small_backbone, views=2, arithmetic="fp32", size=32, frames=FRAMES
    )
    store = open_prefix(
        stacks.samples,
        backbone=small_backbone,
        plan=plan,
        folder=tmp_path / "cache",
        limit=2**30,
        progress=lambda *_: None,
    )
    rows, views = np.array([3, 17, 23]), np.array([0, 1, 1])
    tokens, kept = store.read(rows, views)
    images = torch.stack(
        [
            view(plan.preprocess(stacks.samples[row].path), number)
            for row, number in zip(rows, views, strict=True)
        ]
    )
    x_BND, grid = small_backbone.embed(images)
    assert grid == store.grid == moekit.Grid(4, 4, frames=FRAMES)
    expected, expected_kept = small_backbone.run_blocks(x_BND, grid, stop=2, keep=[0])
    assert tokens.shape == expected.shape == (9, 17, 32)
    torch.testing.assert_close(tokens.float(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(kept[0].float(), expected_kept[0], rtol=1e-2, atol=1e-2)


def test_the_stored_prefix_of_images_keeps_its_name(kit, registry, small_backbone):
    modules = KitModules(spec=kit, registry=registry, backbone=small_backbone)
    make = functools.partial(PrefixPlan.of, modules, small_backbone, views=2, arithmetic="fp32")
    plan, stacked = make(size=32), make(size=32, frames=3)
    content = {
        "end": 1,
        "keep": [],
        "views": 2,
        "arithmetic": "fp32",
        "preprocess": {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3},
        "backbone_sha256": "0" * 64,
        "top_k": 16,
        "release": plan.release,
    }
    text = json.dumps(content, sort_keys=True)
    assert plan.name == hashlib.sha256(text.encode()).hexdigest()[:32]
    assert stacked.name != plan.name


def test_a_run_on_stacks_is_made_and_evaluated(
    run_adapt, stacks, kit, small_backbone, registry, tmp_path
):
    folder = tmp_path / "run"
    record = run_adapt(folder, dataset=stacks)
    assert record["request"]["frames"] == FRAMES
    assert record["images"] == {"train": 12, "val": 6}
    result = run_evaluate(folder, stacks, kit, small_backbone, registry)
    assert (result["n"], result["frames"]) == (6, FRAMES)
    routing = json.loads((folder / "routing.json").read_text())
    options = [one["option"] for one in routing["specialists"] if one["block"] == 1]
    assert options == ["local 1", "local 2", "next", "none"]
    for overlay in json.loads((folder / "overlays" / "index.json").read_text()):
        assert (folder / "overlays" / overlay["file"]).stat().st_size > 0


def test_an_interrupted_run_on_stacks_ends_with_the_weights_of_one_that_was_not(
    run_adapt, stacks, tmp_path
):
    class Killed(Exception):
        pass

    def kill(part, figures):
        if part == "kit":
            raise Killed

    whole = run_adapt(tmp_path / "whole", dataset=stacks)
    with pytest.raises(Killed):
        run_adapt(tmp_path / "torn", dataset=stacks, on_epoch=kill)
    resumed = run_adapt(tmp_path / "torn", dataset=stacks, resume=True)
    assert resumed["weights"] == whole["weights"]


def test_stacks_stay_whole_in_mixed_precision(run_adapt, stacks, recipe, tmp_path):
    # What casts arguments to bfloat16 takes named tuples apart and forgets their attributes.
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    fabric.launch()
    mixed = recipe.model_copy(update={"precision": "bf16"})
    assert run_adapt(tmp_path / "run", dataset=stacks, recipe=mixed, fabric=fabric)["done"]


def test_data_of_other_frames_are_refused(
    run_adapt, stacks, cells, kit, small_backbone, registry, tmp_path
):
    run_adapt(tmp_path / "run of stacks", dataset=stacks)
    images = dataclasses.replace(
        cells, samples=tuple(dataclasses.replace(one, split="test") for one in cells.samples)
    )
    with refused("data/frame-count"):
        run_evaluate(tmp_path / "run of stacks", images, kit, small_backbone, registry)
    run_adapt(tmp_path / "images")
    with refused("data/frame-count"):
        run_evaluate(tmp_path / "images", stacks, kit, small_backbone, registry)


def test_a_run_on_images_can_be_resumed_that_was_begun_before_there_were_stacks(
    run_adapt, tmp_path
):
    record = run_adapt(tmp_path / "run")
    run = Run(tmp_path / "run")
    request = {key: value for key, value in record["request"].items() if key != "frames"}
    write_sealed(run.record, {**record, "request": request})
    assert run.frames() == 1
    assert run_adapt(tmp_path / "run", resume=True)["done"]


def test_a_run_cannot_be_resumed_with_other_frames(run_adapt, stacks, tmp_path):
    run_adapt(tmp_path / "run", dataset=stacks)
    with refused("usage/other-run", match="frames"):
        run_adapt(tmp_path / "run", dataset=dataclasses.replace(stacks, frames=1), resume=True)


def test_a_kit_whose_head_knows_no_stacks_is_named(run_adapt, stacks, kit, tmp_path):
    class Head(nn.Module):
        def __init__(self, site):
            super().__init__()
            self.linear = nn.Linear(site.width * site.blocks, 1)

        def forward(self, tokens, grid):
            pooled = torch.cat([x_BND.float().mean(1) for x_BND in tokens], dim=1)
            return {"logit_B": self.linear(pooled)[:, 0]}

    old = dataclasses.replace(kit, build_head=Head)
    with refused("plugin/bad-head"):
        run_adapt(tmp_path / "run", dataset=stacks, kit=old)


@pytest.fixture
def trained(run_adapt, stacks, kit, small_backbone, registry, tmp_path):
    """What answers by a run on stacks, and a batch of them."""
    run_adapt(tmp_path / "run", dataset=stacks)
    _, answerer = load_answerer(
        Run(tmp_path / "run"), kit, backbone=small_backbone, registry=registry
    )
    inputs = [(one.id, one.path) for one in stacks.samples[:4]]
    (batch,) = image_batches(inputs, answerer.preprocess, batch_size=4)
    return answerer, batch.images


def test_the_order_of_frames_matters_and_that_of_stacks_does_not(
    trained, kit, registry, small_backbone, randomise
):
    spec = kit_of_frames(kit, FRAMES)
    modules = KitModules(spec=spec, registry=registry, backbone=small_backbone)
    randomise(modules, by=0.2)
    predictor = Predictor(
        backbone=small_backbone, kit=modules, baseline=None, task=SCORE, arithmetic="fp32"
    )

    def scores(images):
        return predictor(images).kit["logit_B"].sigmoid()

    stacks = trained[1]
    score_B = scores(stacks)
    torch.testing.assert_close(scores(stacks[[2, 0, 3, 1]]), score_B[[2, 0, 3, 1]])
    alone = torch.cat([scores(one[None]) for one in stacks])
    torch.testing.assert_close(alone, score_B, rtol=1e-5, atol=1e-6)
    moved = (scores(stacks[:, [2, 0, 1]]) - score_B).abs()
    assert moved.max() > 1e-4


def test_pictures_of_stacks_are_scored_as_their_files_are(trained, stacks):
    answerer, images = trained
    expected = answerer.compute(images).kit["logit_B"].sigmoid()
    given = []
    for sample in stacks.samples[:4]:
        with Image.open(sample.path) as file:
            pages = []
            for number in range(FRAMES):
                file.seek(number)
                pages.append(file.convert("RGB"))
        given.append(pages)
    scores = [answer.score for answer in answerer.answer(given, batch_size=3)]
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-5)
    with refused("usage/frame-count", match="1 .* 3"):
        answerer.answer([given[0][0]])


def test_predict_scores_files_of_stacks_and_names_what_is_none(trained, stacks, tmp_path):
    answerer, images = trained
    expected = answerer.compute(images).kit["logit_B"].sigmoid()
    plain = tmp_path / "plain.png"
    Image.new("L", (40, 40)).save(plain)
    inputs = [(one.id, one.path) for one in stacks.samples[:4]]
    rows = predict(
        [*inputs, ("plain.png", plain)],
        answerer=answerer,
        provenance={},
        out=tmp_path / "out",
        batch_size=3,
        on_progress=lambda *_: None,
    )
    scores = torch.tensor([row["score"] for row in rows[:4]])
    torch.testing.assert_close(scores, expected.float())
    assert [row["verdict"] == "unreadable" for row in rows] == [False] * 4 + [True]
    assert rows[4]["error"] == "the file has 1 frame, not 3"
    with (tmp_path / "out" / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5
    assert (tmp_path / "out" / rows[0]["overlay"]).is_file()


def test_images_are_read_as_ever():
    single = Preprocess(size=28, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert single.shape == (3, 28, 28)
    picture = Image.new("RGB", (9, 9), (255, 0, 0))
    assert torch.equal(single.stack([picture]), single.tensor(picture))
