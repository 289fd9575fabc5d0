"""Targets, matching and what data are refused."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from moekit import Frame, Recipe
from moekit.data import Box, read_size
from moekit.data.views import view
from moekit.testing import refused
from moekit_detection.example import SIZE, write_example
from moekit_detection.learn import BOXES, LABELS, check, loss, targets
from moekit_detection.losses import box_loss
from moekit_detection.matching import aligned, one_to_one
from moekit_detection.queries import places
from moekit_detection.records import BOX, LOGIT, Objects, objects_of

FRAME = Frame(height=56, width=56, fit="letterbox")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("boxes"))


@pytest.mark.parametrize("number", [0, 1, 4, 7, 9])
def test_targets_lie_in_each_view_where_the_pixels_do(dataset, number):
    sample = dataset.split("train")[0]
    square, _ = objects_of(sample).box_G4
    pixels = torch.zeros(56, 56)
    left, top, width, height = (int(one) for one in square)
    down = (56 - SIZE[0]) // 2
    pixels[down + top : down + top + height, left : left + width] = 1
    rows, columns = (view(pixels, number) > 0.5).nonzero(as_tuple=True)
    found = targets([sample], np.array([number]), FRAME)
    kept = (found[LABELS][0] == 0).nonzero()
    if not len(kept):
        assert len(rows) < 0.3 * 144 / 0.7**2, "cut to less than the least share"
        return
    x, y, w, h = (found[BOXES][0, kept[0, 0]] * 56).tolist()
    ends = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).tolist()
    assert [x - w / 2, y - h / 2, x + w / 2, y + h / 2] == pytest.approx(ends, abs=1.01)


def test_pictures_with_fewer_objects_are_filled_up(dataset):
    found = targets(dataset.split("train")[2:5], np.zeros(3, np.int64), FRAME)
    assert found[LABELS].tolist() == [[0, 1], [-1, -1], [0, 1]]


def test_of_a_window_the_objects_inside_are_learned_and_crowds_are_not(dataset):
    sample = dataset.split("train")[0]
    objects = objects_of(sample)
    left, top, width, height = (int(one) for one in objects.box_G4[0])
    window = Box(top, left, height, width)
    cut = dataclasses.replace(sample, window=window)
    found = targets([cut], np.zeros(1, np.int64), Frame(height=28, width=28))
    assert found[LABELS].tolist() == [[0]]
    assert found[BOXES][0, 0].tolist() == pytest.approx([0.5, 0.5, 1, 1])
    crowd = Objects.of(objects.box_G4, objects.label_G, crowd_G=[True, False])
    crowded = dataclasses.replace(sample, truth=crowd.as_truth())
    assert targets([crowded], np.zeros(1, np.int64), FRAME)[LABELS].tolist() == [[1]]


def test_the_header_of_a_picture_is_read_once_until_its_file_changes(
    dataset, tmp_path, monkeypatch
):
    read = []

    def counted(path):
        read.append(path)
        return read_size(path)

    monkeypatch.setattr("moekit_detection.learn.read_size", counted)
    path = tmp_path / "a.png"
    shutil.copy(dataset.samples[0].path, path)
    sample = dataclasses.replace(dataset.samples[0], path=path)
    first = [targets([sample], np.zeros(1, np.int64), FRAME)[BOXES] for _ in range(3)]
    assert len(read) == 1
    with Image.open(path) as picture:
        picture.resize((112, 80)).save(path)
    second = targets([sample], np.zeros(1, np.int64), FRAME)[BOXES]
    assert len(read) == 2
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], second)


def test_each_object_gets_the_query_that_finds_it():
    box = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1], [0.5, 0.5, 0.1, 0.1]])
    logit = torch.zeros(3, 2)
    query, found = one_to_one(logit, box, torch.tensor([0, 1]), box[[1, 0]])
    assert sorted(zip(found.tolist(), query.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_of_more_objects_than_queries_some_are_found_by_none():
    box = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    query, found = one_to_one(torch.zeros(2, 1), box[:2], torch.zeros(3, dtype=torch.int64), box)
    assert len(query) == len(found) == 2
    outputs = {LOGIT: torch.zeros(1, 2, 1), BOX: box[None, :2]}
    truth = {LABELS: torch.zeros(1, 3, dtype=torch.int64), BOXES: box[None]}
    assert loss(outputs, truth, Recipe()).isfinite()


def test_places_inside_learn_their_overlap_and_the_best_gets_it_in_full():
    middle = places(10, 10, torch.zeros(1)) / 10
    box = torch.cat([middle, torch.full((100, 2), 0.3)], 1)
    truth = torch.tensor([[0.45, 0.45, 0.3, 0.3], [0.95, 0.05, 0.01, 0.01]])
    place, found, score = aligned(torch.zeros(100, 1), box, middle, torch.tensor([0, 0]), truth)
    assert sorted(place[found == 0].tolist()) == [33, 34, 35, 43, 44, 45, 53, 54, 55]
    assert score[place == 44].item() == pytest.approx(1.0)
    assert (score[found == 0] <= 1).all()
    assert place[found == 1].tolist() == [9], "one that is smaller than a place has the nearest"


def test_small_boxes_count_as_large_ones_do():
    truth = torch.tensor([[0.5, 0.5, 0.02, 0.02], [0.5, 0.5, 0.5, 0.5]])
    moved = truth + torch.cat([truth[:, 2:] / 4, torch.zeros(2, 2)], 1)
    one = torch.ones(1)
    small, large = (box_loss(moved[row : row + 1], truth[row : row + 1], one) for row in (0, 1))
    assert small.item() == pytest.approx(large.item(), rel=1e-3)


def test_data_without_lists_of_objects_are_refused(dataset):
    check(dataset)
    blind = [dataclasses.replace(one, truth=None) for one in dataset.samples[:2]]
    with refused("data/no-truth", match="2 of 12"):
        check(dataset.with_samples([*blind, *dataset.samples[2:]]))
    odd = dataclasses.replace(dataset.samples[0], truth=Objects.of([[1, 1, 5, 5]], [7]).as_truth())
    with refused("data/unknown-class", match="number 7"):
        check(dataset.with_samples([odd, *dataset.samples[1:]]))
    nothing = Objects.of([], []).as_truth()
    empty = [dataclasses.replace(one, truth=nothing) for one in dataset.samples]
    with refused("data/no-objects"):
        check(dataset.with_samples(empty))
