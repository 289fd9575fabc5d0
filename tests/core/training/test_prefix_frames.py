"""The stored prefix of inputs of any size, and the names of what was stored before."""

import functools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.data.views import view
from moekit.moe.specialists import Grid
from moekit.testing import refused
from moekit.training.prefix import open_prefix
from moekit.training.prefix_plan import PrefixPlan

SQUARE, WIDE = Frame(height=32, width=32), Frame(height=24, width=40, fit="letterbox")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHORT = SimpleNamespace(prefix_end=1, prefix_keep=[])
LONG = SimpleNamespace(prefix_end=3, prefix_keep=[0])


@pytest.fixture
def open_store(tiny_backbone, cells, tmp_path):
    """Opens the prefix of twenty pictures."""

    def call(*, modules=SHORT, source=None, frame=SQUARE, top_k=None):
        plan = PrefixPlan.of(
            modules, tiny_backbone, views=2, arithmetic="fp32", frame=frame, top_k=top_k
        )
        return open_prefix(
            cells.samples[:20],
            backbone=tiny_backbone,
            plan=plan,
            folder=tmp_path / "cache",
            limit=2**30,
            source=source,
            progress=lambda *_: None,
        )

    return call


def read(store):
    rows = np.arange(20)
    return store.read(rows, np.zeros_like(rows))[0]


def plan_of(**changes):
    values = {
        "end": 9,
        "keep": (2, 5),
        "views": 4,
        "arithmetic": "fp32",
        "preprocess": Preprocess(size=224, mean=MEAN, std=STD),
        "backbone_sha256": "0" * 64,
        "top_k": 16,
        "release": "0.1.0",
    }
    return PrefixPlan(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "1e410f4416f2eff2bb2b9b2a8c678e30"),
        (
            {
                "end": 12,
                "keep": (),
                "views": 8,
                "arithmetic": "bf16",
                "top_k": 4,
                "backbone_sha256": "0" * 64 + "+" + "1" * 64,
            },
            "cda0c2f68154493dd7341303254a27f8",
        ),
        (
            {"preprocess": Preprocess(size=448, mean=(0.5,) * 3, std=(0.5,) * 3, frames=3)},
            "08d37b0a21fc6455cd1b057b6953b15c",
        ),
        (
            {
                "keep": (),
                "views": 1,
                "preprocess": Preprocess.square(32, mean=MEAN, std=STD),
            },
            "7f5525b5da1d41d07a8fe9d368c1a4cd",
        ),
    ],
)
def test_what_was_stored_before_there_were_frames_is_found(changes, name):
    assert plan_of(**changes).name == name


def test_each_frame_has_a_name_of_its_own():
    frames = [
        Frame(height=height, width=width, fit=fit)
        for height, width in ((224, 224), (224, 112), (112, 224), (112, 112))
        for fit in ("squash", "letterbox")
    ]
    reads = [
        Preprocess(frame=frame, mean=MEAN, std=STD, bits=bits)
        for frame in frames
        for bits in (None, 12)
    ]
    assert len({plan_of(preprocess=read).name for read in reads}) == 2 * len(frames)


def test_a_plan_is_for_a_size_or_for_a_frame(tiny_backbone):
    make = functools.partial(PrefixPlan.of, SHORT, tiny_backbone, views=8, arithmetic="fp32")
    assert make(size=32) == make(frame=SQUARE)
    with refused("usage/no-size"):
        make()
    with refused("usage/no-size"):
        make(size=32, frame=SQUARE)
    with refused("usage/too-many-views", match="24 x 40"):
        make(frame=WIDE)


def test_a_rectangle_is_stored_as_the_backbone_sees_it(open_store, tiny_backbone, cells):
    store = open_store(frame=WIDE)
    assert (store.frame, store.views, store.grid) == (WIDE, 2, Grid(3, 5))
    preprocess = Preprocess(frame=WIDE, mean=tiny_backbone.mean, std=tiny_backbone.std)
    images = torch.stack([view(preprocess(cells.samples[row].path), 1) for row in (3, 19)])
    x_BND, grid = tiny_backbone.embed(images)
    tokens, _ = store.read(np.array([3, 19]), np.array([1, 1]))
    expected, _ = tiny_backbone.run_blocks(x_BND, grid, stop=1)
    torch.testing.assert_close(tokens.float(), expected, rtol=1e-2, atol=1e-2)
    chained = open_store(modules=LONG, source=store, frame=WIDE)
    tokens, kept = chained.read(np.array([3, 19]), np.array([1, 1]))
    expected, _ = tiny_backbone.run_blocks(x_BND, grid)
    torch.testing.assert_close(tokens.float(), expected, rtol=2e-2, atol=3e-2)
    assert kept[0].shape == (2, 16, 32)


def test_a_stored_file_grows_with_the_number_of_patches(open_store, tmp_path):
    for rows, columns in ((1, 2), (2, 4), (4, 8)):
        open_store(frame=Frame(height=8 * rows, width=8 * columns))
        sizes = {path.stat().st_size for path in (tmp_path / "cache").rglob("*.bf16")}
        # Views, maps, tokens, D, bytes; and a checksum a view.
        assert sizes == {2 * 1 * (1 + rows * columns) * 32 * 2 + 2 * 4}
        shutil.rmtree(tmp_path / "cache")


def test_what_is_stored_is_computed_at_the_top_k_of_the_plan(open_store, tiny_backbone):
    few = open_store(top_k=2)
    expected = read(few)
    longer = read(open_store(modules=LONG, source=few, top_k=2))
    with tiny_backbone.at_top_k(2):
        assert open_store().plan == few.plan
    all_experts = read(open_store())
    assert not torch.equal(all_experts, expected)
    tokens, grid = expected.float(), few.grid
    later, _ = tiny_backbone.run_blocks(tokens, grid, start=1, top_k=2)
    torch.testing.assert_close(longer.float(), later, rtol=1e-2, atol=1e-2)
