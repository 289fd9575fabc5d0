"""Targets of masks in each view, their loss, the head, and sets whose masks are taken apart."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from moekit import Dataset, Frame, Grid, HeadSite, MaskTable, Recipe, Sample
from moekit.data.views import view
from moekit.testing import refused
from moekit_detection.example import SIZE
from moekit_detection.head import AnchorHead, PlainQueryHead
from moekit_detection.instances.example import small_mask_head, write_masked_example
from moekit_detection.instances.head import NOISY_KERNEL, STEP_KERNEL, MaskHead
from moekit_detection.instances.learn import (
    INSIDE,
    RASTER,
    figures,
    loss,
    mask_loss,
    raster_points,
    targets,
)
from moekit_detection.instances.pixels import FEATURE, KERNEL
from moekit_detection.instances.regions import with_regions
from moekit_detection.instances.truth import instances_of
from moekit_detection.learn import BOXES, LABELS
from moekit_detection.records import BOX, LOGIT

FRAME = Frame(height=56, width=56, fit="letterbox")
SITE = HeadSite(width=16, blocks=2, classes=2)
GRID = Grid(4, 4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_masked_example(tmp_path_factory.mktemp("masks"))


@pytest.mark.parametrize("number", [0, 1, 4, 7, 9, 13])
def test_rasters_lie_in_each_view_where_the_pixels_do(dataset, number):
    sample = dataset.split("train")[0]
    true = instances_of(sample)
    found = targets([sample], np.array([number]), FRAME)
    down = (56 - SIZE[0]) // 2
    for place in range((found[LABELS][0] >= 0).sum()):
        label = int(found[LABELS][0, place])
        plane = torch.zeros(56, 56)
        (top, left), pixels = true.masks.crop(label)
        height, width = pixels.shape
        plane[down + top : down + top + height, left : left + width] = torch.from_numpy(
            pixels.copy()
        ).float()
        seen = view(plane, number)
        point = (raster_points(found[BOXES][0, place : place + 1])[0] * 56).floor().long()
        inside = ((point >= 0) & (point < 56)).all(1)
        column, row = point.clamp(0, 55).T
        wanted = (seen[row, column] > 0.5) & inside
        said = found[INSIDE][0, place].bool()
        assert (said[inside] == wanted[inside]).float().mean() > (0.98 if number < 8 else 0.9)
        assert said.any()
        assert not said.reshape(RASTER, RASTER)[0].any() or number >= 8, "around it is nothing"


def test_pictures_with_fewer_objects_and_crowds_are_filled_up(dataset):
    first, *_, empty = dataset.split("train")[:4]
    assert targets([first, empty], np.zeros(2, np.int64), FRAME)[LABELS].tolist() == [
        [0, 1],
        [-1, -1],
    ]
    held = dict(first.truth["objects"], mask=("", first.truth["objects"]["mask"][1]))
    bare = dataclasses.replace(first, truth={"objects": held})
    assert targets([bare], np.zeros(1, np.int64), FRAME)[LABELS].tolist() == [[1]]


def test_masks_that_fit_cost_next_to_nothing_and_the_reverse_much():
    inside = (torch.arange(40.0).reshape(2, 20) % 3 == 0).float()
    right, wrong = (mask_loss(sign * 20 * (2 * inside - 1), inside).item() for sign in (1, -1))
    assert right < 0.01
    assert wrong > 60
    assert mask_loss(torch.zeros(0, 20), torch.zeros(0, 20)).item() == 0


@pytest.mark.parametrize("find", [AnchorHead, PlainQueryHead])
def test_a_step_lowers_the_loss_of_masks(dataset, find):
    torch.manual_seed(0)
    head = MaskHead(
        SITE, find=find, width=16, channels=4, stem=16, queries=8, layers=2, heads=2, points=2
    ).train()
    truth = targets(dataset.split("train")[:3], np.zeros(3, np.int64), FRAME)
    tokens = [torch.randn(3, 17, 16) for _ in range(2)]
    picture = torch.randn(3, 3, 56, 56)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    given = {"targets": truth} if head.reads_targets else {}
    seen = []
    for _ in range(25):
        optimiser.zero_grad()
        outputs = head(tokens, GRID, picture, **given)
        cost = loss(outputs, truth, Recipe())
        cost.backward()
        optimiser.step()
        seen.append(cost.item())
    assert seen[-1] < seen[0]
    assert outputs[STEP_KERNEL].shape[:3] == (3, 1, 8)
    assert (NOISY_KERNEL in outputs) == (find is AnchorHead)
    for module in (head.draw, head.tell):
        assert all(one.grad.isfinite().all() for one in module.parameters())
    head.eval()
    with torch.no_grad():
        answered = head(tokens, GRID, picture)
    assert set(answered) == {LOGIT, BOX, FEATURE, KERNEL}
    assert answered[FEATURE].shape == (3, 9, 16, 16)
    assert answered[KERNEL].shape == (3, 8, 9)
    told = figures(answered, truth)
    assert 0 < told["mask_iou"] <= 1


def test_without_objects_there_is_a_loss_and_no_figure(dataset):
    head = small_mask_head(SITE).train()
    empty = targets([dataset.split("train")[3]], np.zeros(1, np.int64), FRAME)
    tokens = [torch.randn(1, 17, 16) for _ in range(2)]
    outputs = head(tokens, GRID, torch.randn(1, 3, 56, 56), targets=empty)
    assert loss(outputs, empty, Recipe()).isfinite()
    answered = {name: value.detach() for name, value in outputs.items()}
    assert np.isnan(figures(answered, empty)["mask_iou"])


def inspected(folder, count=12, **changes):
    """Pictures of parts, the odd ones with two scratches in their masks, all in test."""
    samples = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.new("L", (40, 30), 100 + number).save(path)
        mask = None
        if number % 2:
            plane = np.zeros((30, 40), np.uint8)
            plane[2:5, 3:20] = plane[10:12, 30:33] = 255
            mask = folder / f"{number}_mask.png"
            Image.fromarray(plane).save(mask)
        samples.append(
            Sample(
                id=path.name,
                path=path,
                label=number % 2,
                split="test" if number % 2 else ("train", "val")[number // 2 % 2],
                mask=mask,
                facts={"defect": "scratch"} if number % 2 else {},
                **changes,
            )
        )
    return Dataset(
        name="parts",
        samples=tuple(samples),
        classes=("good", "defective"),
        licence="CC0-1.0",
        source="drawn",
        split_note="as given",
    )


def test_masks_of_an_inspection_set_are_taken_apart_into_objects(tmp_path):
    given = inspected(tmp_path)
    made = with_regions(given, 0, fact="defect")
    assert made.classes == ("scratch",)
    shown = [one for one in made.samples if one.labels]
    true = instances_of(shown[0])
    assert true.masks.area_G.tolist() == true.area_G.tolist() == [51, 6]
    assert true.box_G4.tolist() == [[3, 2, 17, 3], [30, 10, 3, 2]]
    assert {one.split for one in shown} == {"train", "val", "test"}
    assert "dealt again" in made.split_note
    assert any("12 connected regions of 6 masks" in note for note in made.notes)
    assert with_regions(given, 0).classes == ("defective",)
    assert with_regions(made, 1) is made, "objects stay as they are"


def test_what_has_no_mask_that_can_be_used_is_left_out_and_named(tmp_path):
    given = inspected(tmp_path)
    Image.new("L", (9, 9)).save(tmp_path / "1_mask.png")
    Image.new("L", (40, 30)).save(tmp_path / "3_mask.png")
    bare = dataclasses.replace(given.samples[5], mask=None)
    made = with_regions(given.with_samples([*given.samples[:5], bare, *given.samples[6:]]), 0)
    told = {one.id: one.reason for one in made.skipped}
    assert set(told) == {"1.png", "3.png", "5.png"}
    assert "empty" in told["3.png"]
    with refused("data/missing-mask"):
        with_regions(given.with_samples(given.samples[::2]), 0)
    with refused("data/missing-mask"):
        with_regions(dataclasses.replace(given, has_negative=False), 0)


def test_a_table_of_one_class_says_what_a_mask_says_and_one_of_several_does_not(tmp_path):
    for table in (MaskTable(values={0: 0, 255: 1}), MaskTable(values={0: 0}, others=1)):
        made = with_regions(inspected(tmp_path, mask_table=table), 0)
        assert sum(len(one.labels or ()) for one in made.samples) == 6
        assert not any(one.mask_table for one in made.samples)
    for table in (
        MaskTable(values={0: 0, 1: 1, 2: 2}),
        MaskTable(values={0: 1, 255: 0}),
        MaskTable(colours={(0, 0, 0): 0, (255, 0, 0): 1}),
    ):
        with refused("data/unknown-mask"):
            with_regions(inspected(tmp_path, mask_table=table), 0)
