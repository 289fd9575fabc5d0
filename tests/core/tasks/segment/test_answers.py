"""Answers: enlarging, turning back, shares and regions."""

import math

import numpy as np
import pytest
import torch

from moekit.contract.answers import Answer, Item, TaskContext
from moekit.data.geometry import Frame
from moekit.data.views import view
from moekit.runtime.predictor import turned_back
from moekit.tasks.segment import SEGMENT
from moekit.tasks.segment.answers import SegmentAnswer, answers, merge, unreadable
from moekit.tasks.segment.classes import background_of, palette
from moekit.tasks.segment.enlarge import class_map
from moekit.tasks.segment.head import LOGIT
from moekit.testing import refused


def test_a_squashed_input_is_enlarged_as_torch_does(generator):
    logit = torch.randn(5, 12, 9, generator=generator)
    for size in ((48, 36), (37, 91), (7, 5)):
        large = torch.nn.functional.interpolate(logit[None], size=size, mode="bilinear")[0]
        first, second = large.topk(2, dim=0).values
        found = class_map(logit, Frame(height=48, width=36), size)
        sure = (first - second > 1e-5).numpy()
        assert found.dtype == np.uint8
        assert np.array_equal(found[sure], large.argmax(0).numpy()[sure])


def test_strips_make_no_difference(generator, monkeypatch):
    logit, frame = torch.randn(3, 16, 16, generator=generator), Frame(height=64, width=64)
    whole = class_map(logit, frame, (50, 70))
    monkeypatch.setattr("moekit.tasks.segment.enlarge._MOST_NUMBERS", 3 * 70 * 7)
    assert np.array_equal(class_map(logit, frame, (50, 70)), whole)


@pytest.mark.parametrize("size", [(40, 56), (56, 40), (200, 30), (3, 100)])
def test_a_letterbox_gives_back_what_was_placed(size, logits):
    plane = np.zeros(size, dtype=np.int64)
    plane[size[0] // 2 :, : size[1] // 2] = 1
    plane[0, 0] = 2
    frame = Frame(height=256, width=256, fit="letterbox")
    found = class_map(logits([plane], frame, fill=2)[LOGIT][0], frame, size)
    assert (found == plane).mean() > 0.97
    assert (found[-1] == plane[-1]).mean() > 0.9
    assert (found == 2).mean() < 0.02


def test_borders_do_not_leak_into_the_picture():
    """Logits at an eighth of the input; the border shouts class 1."""
    frame = Frame(height=64, width=64, fit="letterbox")
    logit = torch.zeros(2, 8, 8)
    logit[1] = 100
    logit[:, 2:6] = torch.tensor([1.0, 0.0])[:, None, None]
    assert not class_map(logit, frame, (32, 64)).any()


def test_many_classes_take_sixteen_bits():
    logit = torch.zeros(300, 2, 2)
    logit[299] = 1
    found = class_map(logit, Frame(height=8, width=8), (4, 4))
    assert found.dtype == np.uint16
    assert (found == 299).all()


def turned(logit, number):
    """What a head says of a view, as the engine hands it to the task."""
    return turned_back({LOGIT: view(logit, number)}, SEGMENT, number)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_merged_views_are_averaged(views, generator):
    logit = torch.randn(2, 3, 8, 8, generator=generator)
    added = [torch.full((1,), float(number)) for number in range(views)]
    given = [turned(logit + one, number) for number, one in enumerate(added)]
    found = merge(given)[LOGIT]
    assert torch.allclose(found, logit + sum(range(views)) / views, atol=1e-5)


def test_flips_of_a_rectangle_are_turned_back(generator):
    logit = torch.randn(1, 3, 4, 10, generator=generator)
    found = merge([turned(logit, number) for number in range(4)])[LOGIT]
    assert torch.allclose(found, logit, atol=1e-6)


@pytest.fixture
def answer():
    plane = np.zeros((10, 20), dtype=np.uint8)
    plane[1:3, 1:4] = 1
    plane[3, 4] = 1  # touches at a corner
    plane[6:9, 10:15] = 1
    plane[0, 19] = 2
    return SegmentAnswer(class_HW=plane, classes=("soil", "crop", "weed"), background=(0,))


def test_an_answer_tells_shares_verdict_and_monitor(answer):
    assert isinstance(answer, Answer)
    assert answer.verdict == "crop"
    assert answer.shares == {"soil": 0.885, "crop": 0.11, "weed": 0.005}
    assert answer.monitor == pytest.approx(0.115)
    row = answer.as_row()
    assert row["foreground"] == 0.115
    assert set(unreadable(None)) == set(row)


def test_regions_are_told_the_largest_first(answer):
    first, second, third = answer.regions
    assert first == {"label": "crop", "x": 10, "y": 6, "width": 5, "height": 3, "area": 15}
    assert second == {"label": "crop", "x": 1, "y": 1, "width": 4, "height": 3, "area": 7}
    assert third["label"] == "weed"


def test_regions_are_at_most_fifty():
    plane = np.zeros((40, 40), dtype=np.uint8)
    plane[::3, ::3] = 1
    answer = SegmentAnswer(class_HW=plane, classes=("a", "b"), background=(0,))
    assert len(answer.regions) == 50


def test_a_picture_without_foreground_is_named_after_its_commonest_class():
    plane = np.zeros((4, 4), dtype=np.uint8)
    plane[0] = 2
    answer = SegmentAnswer(class_HW=plane, classes=("a", "b", "c"), background=(0, 2))
    assert answer.verdict == "a"
    assert answer.monitor == 0


def test_without_background_all_classes_count():
    plane = np.zeros((4, 4), dtype=np.uint8)
    answer = SegmentAnswer(class_HW=plane, classes=("a", "b"), background=())
    assert answer.monitor == 1
    assert answer.verdict == "a"
    assert answer.as_row()["foreground"] == 1
    assert len(answer.regions) == 1


def test_each_item_is_answered_at_its_own_size(logits):
    frame = Frame(height=64, width=64, fit="letterbox")
    planes = [np.ones((20, 60)), np.full((60, 20), 2)]
    context = TaskContext(classes=("a", "b", "c"), vocabulary={}, frame=frame)
    items = [Item(id="x", size=(20, 60)), Item(id="y", size=(60, 20))]
    first, second = answers(logits(planes, frame), items, None, context)
    assert first.class_HW.shape == (20, 60)
    assert (first.class_HW == 1).all()
    assert (second.class_HW == 2).all()


@pytest.mark.parametrize(
    ("given", "wanted"), [((), ()), ("b", (1,)), (2, (2,)), (("c", 0), (0, 2))]
)
def test_options_name_the_background(given, wanted):
    frame = Frame(height=8, width=8)
    context = TaskContext(
        classes=("a", "b", "c"), vocabulary={}, frame=frame, options={"background": given}
    )
    assert background_of(context) == wanted
    assert background_of(TaskContext(classes=("a", "b"), vocabulary={}, frame=frame)) == (0,)


def test_a_background_that_is_no_class_is_refused():
    context = TaskContext(
        classes=("a", "b"),
        vocabulary={},
        frame=Frame(height=8, width=8),
        options={"background": "sky"},
    )
    with refused("data/unknown-class", match="'sky'"):
        background_of(context)


def test_colours_are_distinct_and_do_not_move():
    colours = palette(120).astype(int)
    assert np.array_equal(palette(12), palette(120)[:12])
    apart = np.abs(colours[:, None] - colours[None]).sum(2) + 1000 * np.eye(120, dtype=int)
    assert apart.min() > 8
    assert apart[:20, :20].min() > 60
    assert math.prod(palette(0).shape) == 0


def test_the_graph_of_merged_views_says_the_same(generator, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")

    class Merge(torch.nn.Module):
        def forward(self, x_VBChw):
            return merge([{LOGIT: x_BChw} for x_BChw in x_VBChw.unbind(0)])[LOGIT]

    given = torch.randn(8, 2, 3, 4, 4, generator=generator)
    path = tmp_path / "merge.onnx"
    torch.onnx.export(
        Merge().eval(),
        (given,),
        path,
        input_names=["views"],
        output_names=["logit"],
        dynamic_shapes=({1: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 2):
        (found,) = session.run(None, {"views": given[:, :count].numpy()})
        assert np.allclose(found, Merge()(given[:, :count]).numpy(), atol=1e-5)
