"""Boxes without training: what is inside looks like the examples, what is around does not."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moekit import Grid, HeadSite, Registry
from moekit.testing import refused
from moekit_detection.fit import _clusters, _label, fit_box_prototypes
from moekit_detection.learn import BOXES, LABELS
from moekit_detection.loaders.coco import load_coco, write_example
from moekit_detection.prototypes import PrototypeBoxHead
from moekit_detection.records import BOX, LOGIT

SITE = HeadSite(width=6, blocks=1, classes=2)
GRID = Grid(16, 20)
WIDTHS = {0: (6, 4), 1: (3, 5)}
"""Columns and rows of the objects of a class, in patches."""


def tokens(*objects, seed=0):
    """A picture of patches: what is nothing, and objects (class, left, top) of other features."""
    generator = torch.Generator().manual_seed(seed)
    plane = torch.zeros(GRID.rows, GRID.columns, 6)
    plane[..., 2] = 1
    plane[:, 10:, 3] = 1  # two kinds of background
    for label, left, top in objects:
        columns, rows = WIDTHS[label]
        part = plane[top : top + rows, left : left + columns]
        part[:] = 0
        part[..., label] = 1
    plane += 0.05 * torch.randn(plane.shape, generator=generator)
    return torch.cat([torch.zeros(1, 6), plane.flatten(0, 1)])[None]


def boxes(*objects):
    made = [
        (left + WIDTHS[k][0] / 2, top + WIDTHS[k][1] / 2, *WIDTHS[k]) for k, left, top in objects
    ]
    return torch.tensor(made).reshape(-1, 4) / torch.tensor([GRID.columns, GRID.rows] * 2)


EXAMPLES = [((0, 2, 3), (1, 14, 9)), ((1, 4, 8), (0, 12, 2))]


class Store:
    """Stored activations of the examples."""

    samples = (SimpleNamespace(id="a"), SimpleNamespace(id="b"))
    views, grid = 1, GRID

    def __len__(self):
        return len(self.samples)

    def read(self, rows, views):
        del views
        return torch.cat([tokens(*EXAMPLES[row], seed=int(row)) for row in rows]), {}


def job(head, told, *, labels=None):
    """A job whose kit is its head."""

    class Kit(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, backbone, x_BND, stored, grid, *, top_k=None):
            del backbone, stored, top_k
            return self.head([x_BND], grid)

    fabric = SimpleNamespace(
        device=torch.device("cpu"),
        to_device=lambda value: value,
        autocast=lambda: torch.autocast("cpu", enabled=False),
    )
    targets = {
        LABELS: labels
        if labels is not None
        else torch.tensor([[k for k, _, _ in one] for one in EXAMPLES]),
        BOXES: torch.stack([boxes(*one) for one in EXAMPLES]),
    }
    return SimpleNamespace(
        kit=Kit(),
        backbone=None,
        fabric=fabric,
        train=Store(),
        recipe=SimpleNamespace(batch_size=2),
        seed=0,
        on_epoch=told.append,
        targets=lambda store, rows, views: {name: one[rows] for name, one in targets.items()},
    )


@pytest.fixture(scope="module")
def head():
    made, told = PrototypeBoxHead(SITE, queries=30, clusters=8), []
    result = fit_box_prototypes(job(made, told))
    assert (result.epochs, told[0]["objects"]) == (1, 4.0)
    return made


@pytest.mark.parametrize(
    "objects",
    [((0, 9, 1),), ((1, 1, 1), (1, 8, 9), (0, 12, 4)), ((0, 0, 0), (0, 14, 12)), ()],
)
def test_objects_of_other_pictures_are_found_in_their_places(head, objects):
    with torch.no_grad():
        outputs = head([tokens(*objects, seed=9)], GRID)
    score, label = outputs[LOGIT][0].sigmoid().max(1)
    found = score > 0.4
    assert int(found.sum()) == len(objects)
    scale = torch.tensor([GRID.columns, GRID.rows] * 2)
    for k, true in zip([one[0] for one in objects], boxes(*objects), strict=True):
        away = (outputs[BOX][0][found] - true).mul(scale).abs().amax(1)
        nearest = int(away.argmin())
        assert away[nearest] <= 1.0, "to a patch"
        assert label[found][nearest] == k


def test_the_smallest_object_has_its_patches_and_the_rim_is_of_nobody():
    at = torch.tensor([[x, 0.5] for x in (0.05, 0.22, 0.5, 0.62, 0.95)])
    box = torch.tensor([[0.5, 0.5, 0.6, 0.6], [0.62, 0.5, 0.01, 0.01]])
    assert _label(at, box, torch.tensor([0, 1])).tolist() == [-1, -2, 0, 1, -1]


def test_clusters_are_the_same_with_one_seed_and_none_is_lost():
    plane = torch.nn.functional.normalize(torch.randn(200, 6), dim=1)
    first, again = (_clusters(plane, 8, seed=3) for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(8))
    assert not _clusters(plane[:0], 4, seed=0).any()


def test_a_class_without_an_example_is_refused():
    labels = torch.tensor([[0, -1], [-1, 0]])
    with refused("data/missing-class"):
        fit_box_prototypes(job(PrototypeBoxHead(SITE), [], labels=labels))


def test_shots_keep_so_many_pictures_of_each_class(tmp_path):
    write_example(tmp_path)
    whole, few = (
        load_coco(tmp_path.with_name(f"{tmp_path.name}{end}"), 0) for end in ("", "?shots=2")
    )
    assert (len(whole.split("train")), len(few.split("train"))) == (8, 2)
    assert len(few.split("val")) == len(whole.split("val"))
    assert "2 training images a class are kept" in few.split_note
    with refused("data/bad-option"):
        load_coco(tmp_path.with_name(f"{tmp_path.name}?shots=none"), 0)


def test_the_kit_answers_after_a_few_examples(tmp_path, moekit):
    write_example(tmp_path)
    run = tmp_path / "run"
    data = f"coco={tmp_path}?shots=3"
    done = moekit(
        *("adapt", "detection-few", "--data", data, "--out", run, "--image-size", "224"),
        *("--device", "cpu"),
    )
    assert not done.code, done.err
    done = moekit(
        *("evaluate", "detection-few", "--data", data, "--split", "test", "--run", run),
        *("--device", "cpu", "--json"),
    )
    assert not done.code, done.err
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["metrics"]["ap50"]["value"] > 0.6
    assert np.isfinite(result["baseline"]["metrics"]["ap50"]["value"])
    assert Registry().kit("detection-few").task == "moekit-detection/detect"
