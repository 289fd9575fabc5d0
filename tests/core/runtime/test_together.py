"""Several kits in one request: each answers bitwise as alone, and what they share runs once."""

import collections
import dataclasses
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import moekit
from moekit import Frame
from moekit.data.stream import Preprocess
from moekit.data.windows import Tiling
from moekit.plugins.resolve import resolve
from moekit.runtime.answerer import Answerer
from moekit.runtime.kit import KitModules
from moekit.runtime.plan import plan_of
from moekit.runtime.predictor import Predictor
from moekit.runtime.together import Trained, answer_together, compute_together
from moekit.runtime.trunk import walk
from moekit.tasks.classify import ClassHead
from moekit.tasks.score import OperatingPoint
from moekit.tasks.segment import LinearSegHead
from moekit.testing import refused
from moekit.testing.reference import SIDE, small_backbone

POINT = OperatingPoint(threshold=0.5, rule="given", split="val", n=0, value=0.0)
SQUARE = Frame(height=SIDE, width=SIDE)
WIDE = Frame(height=SIDE // 2, width=SIDE, fit="letterbox")


class Thrower(nn.Module):
    """An expert that fails."""

    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x_TD):
        raise RuntimeError("no such luck")


class Writer(nn.Module):
    """An expert that writes into what it reads."""

    reads_map = True

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x_BND, grid):
        output = self.linear(x_BND)
        x_BND.fill_(7.0)
        return output


class Spoiler(moekit.PooledHead):
    """A head that writes into what it reads."""

    def forward(self, tokens, grid):
        output = super().forward(tokens, grid)
        for x_BND in tokens:
            x_BND.fill_(7.0)
        return output


class Hostile:
    """A plugin with experts that do what they must not."""

    @moekit.hookimpl
    def moekit_experts(self):
        built = {"thrower": Thrower, "writer": Writer}
        return [
            moekit.ExpertSpec(name=name, build=build, summary="-", source="-")
            for name, build in built.items()
        ]


@pytest.fixture
def made(registry, make_kit, randomise):
    """Makes a kit of any task with random weights, on 12 blocks; it answers pictures."""
    registry.register(Hostile(), distribution="hostile")
    backbone = small_backbone()

    def make(
        *blocks,
        head=moekit.PooledHead,
        task="score",
        frame=SQUARE,
        read=(5, 11),
        expert="token",
        seed=1,
        views=1,
        top_k=16,
        mean=False,
        tiling=None,
        frames=1,
    ):
        slots = tuple(
            moekit.SpecialistSlot(block=block, experts=(expert, "map"), gate="best", top_k=2)
            for block in blocks
        )
        spec = make_kit("one", slots=slots, head_blocks=read, build_head=head, task=task)
        resolved = resolve(spec, registry)
        classes = ("left", "middle", "right")[: 2 if task == "score" else 3]
        models = []
        for number, one in enumerate((spec, spec.bare)):
            models.append(
                KitModules(spec=one, registry=registry, backbone=backbone, classes=len(classes))
            )
            randomise(models[-1], seed=seed + number, by=0.05)
        predictor = Predictor(
            backbone=backbone,
            kit=models[0],
            baseline=models[1] if mean else None,
            mean="alone" if mean else None,
            task=resolved.task,
            arithmetic="fp32",
            views=views,
            top_k=top_k,
        )
        answerer = Answerer(
            compute=predictor,
            preprocess=Preprocess(
                frame=frame, mean=backbone.mean, std=backbone.std, tiling=tiling, frames=frames
            ),
            task=resolved.task,
            context=resolved.context(classes=classes, frame=frame),
            point=POINT if task == "score" else None,
        )
        return Trained(predictor=predictor, answerer=answerer)

    return make


@pytest.fixture
def kits(made):
    """Kits of three tasks that differ in all that may differ."""
    return {
        "late": made(9, 10, 11),
        "later": made(11, seed=3, read=(2, 8, 11)),
        "frozen": made(read=(3, 7), seed=4),
        "views": made(10, seed=5, views=(0, 2)),
        "other order": made(10, seed=6, views=(2, 3, 0), head=ClassHead, task="classify"),
        "outlines": made(10, 11, seed=7, frame=WIDE, head=LinearSegHead, task="segment"),
        "windows": made(
            10,
            seed=8,
            frame=WIDE,
            head=LinearSegHead,
            task="segment",
            tiling=Tiling(height=28, width=56),
        ),
        "few": made(9, seed=9, top_k=4),
        "mean": made(8, seed=10, mean=True),
        "after the head": made(9, seed=11, read=(4,)),
    }


@pytest.fixture
def pictures():
    """Five pictures of several sizes, one of them larger than a window."""
    random = np.random.default_rng(0)
    sizes = [(20, 50), (28, 56), (40, 70), (20, 30), (25, 25)]
    return [
        (Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)),) for size in sizes
    ]


def alone(kit, pictures):
    return [plain(answer) for answer in kit.answerer.answer(pictures, batch_size=2)]


def together(kits, pictures):
    found = answer_together(kits, lambda frames, bits: pictures, batch_size=2)
    return found, {name: [plain(one) for one in answers] for name, answers in found.items()}


def plain(answer):
    """All of an answer, arrays as bytes."""
    values = {field.name: getattr(answer, field.name) for field in dataclasses.fields(type(answer))}
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def test_each_kit_answers_bitwise_as_it_does_alone(kits, pictures):
    found, answers = together(kits, pictures)
    assert list(found) == list(kits)
    assert not found.failed
    for name, kit in kits.items():
        assert answers[name] == alone(kit, pictures), name
    several = {str(answers[name]) for name in kits}
    assert len(several) == len(kits), "there is nothing to tell them apart by"


@pytest.fixture
def runs_of():
    """How often each block of the backbone runs during a call."""

    def count(call):
        counts = collections.Counter()
        hooks = [
            block.attn.register_forward_hook(lambda *_, index=index: counts.update([index]))
            for index, block in enumerate(small_backbone().blocks)
        ]
        try:
            call()
        finally:
            for hook in hooks:
                hook.remove()
        return counts

    return count


def test_the_blocks_before_the_kits_own_run_once(made, pictures, runs_of):
    kits = {
        "late": made(9, 10, 11),
        "late too": made(9, 10, 11, seed=2),
        "later": made(11, seed=3),
        "frozen": made(read=(3, 7), seed=4),
    }
    counts = runs_of(lambda: together(kits, pictures[:2]))
    # Block 9 runs once too: the kits add their specialists to what it computes without them.
    assert [counts[block] for block in range(12)] == [1] * 10 + [3, 3]
    separate = runs_of(lambda: [alone(kit, pictures[:2]) for kit in kits.values()])
    assert separate.total() == 12 * 3 + 8


def test_a_plan_counts_what_a_request_runs(kits, pictures, runs_of):
    del kits["windows"]  # its passes depend on the pictures
    plan = plan_of(kits)
    counts = runs_of(lambda: together(kits, pictures[:2]))
    planned = collections.Counter()
    for one in plan.passes:
        planned.update(range(one.blocks))
        for model in one.models:
            planned.update(range(model.start, model.start + model.blocks))
    assert planned == counts
    assert {(one.view, one.top_k, one.width) for one in plan.passes} == {
        (0, 16, SIDE),
        (2, 16, SIDE),
        (3, 16, SIDE),
        (0, 4, SIDE),
    }
    assert len(plan.passes) == 5, "the wide input has a pass of its own"


def test_a_plan_says_what_sharing_saves(made):
    one = plan_of({"late": made(9, 10, 11)})
    assert one.share == one.ratio == 1
    eight = plan_of({str(seed): made(9, 10, 11, seed=seed) for seed in range(8)})
    # Blocks alone: 10 shared and 8 times 2 own ones next to 12; heads weigh more than they do here.
    assert 26 / 12 < eight.ratio < 31 / 12
    assert eight.ratio == pytest.approx(8 * eight.share)
    table = str(eight).splitlines()
    assert len(table) == 1 + 1 + 8 + 1
    assert f"1 pass for 8 kits; by arithmetic {eight.ratio:.2f} times" in table[-1]


def test_a_kit_that_fails_takes_no_other_with_it(made, kits, pictures, caplog):
    good = {"late": kits["late"], "mean": kits["mean"], "windows": kits["windows"]}
    hostile = {
        "throws": made(9, expert="thrower", seed=9, views=(0, 2)),
        "writes": made(9, expert="writer", seed=9),
        "spoils": made(head=Spoiler, read=(5, 8), seed=9),
        "cannot cut": made(9, seed=9, tiling=Tiling(height=28, width=56)),
        "wants stacks": made(9, seed=9, frames=3),
    }
    found, answers = together({**hostile, **good}, pictures)
    assert set(found.failed) == {"throws", "cannot cut", "wants stacks"}
    for name, kit in good.items():
        assert answers[name] == alone(kit, pictures), name
    assert found.failed["throws"].whose == "expert thrower"
    assert "throws" in caplog.text
    assert "no such luck" in caplog.text
    with refused("plugin/run-failed", match="no such luck"):
        found["throws"]
    with pytest.raises(KeyError, match="nobody"):
        found["nobody"]


def test_nothing_of_the_trunk_is_kept_longer_than_needed(made):
    models = [
        made(*own, read=read).predictor.kit for own, read in (((9,), (2, 11)), ((11,), (11,)))
    ]
    backbone = small_backbone()
    kept = []
    hook = backbone.blocks[2].register_forward_hook(
        lambda _, __, output: kept.append(weakref.ref(output))
    )
    stops = walk(backbone, torch.zeros(1, 3, SIDE, SIDE), models, top_k=16)
    with torch.inference_mode():
        stop = next(stops)
        hook.remove()
        assert kept[0]() is not None
        assert list(stop.kept) == [2]
        stop = next(stops)
        assert kept[0]() is None
        assert (stop.model, stop.start, list(stop.kept)) == (1, 11, [])


def test_images_that_no_backbone_takes_are_refused_as_they_are_alone(made):
    predictors = {"late": made(9).predictor}
    with refused("usage/image-shape"):
        compute_together(predictors, torch.zeros(1, 3, SIDE, SIDE + 1), {})
