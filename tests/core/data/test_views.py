"""Views are different, keep the pixels and can be turned back."""

import math

import pytest
import torch

from moekit.data.geometry import Frame
from moekit.data.views import (
    VIEWS,
    check_views,
    unview,
    unview_boxes,
    view,
    view_boxes,
    view_numbers,
    views_of,
)
from moekit.testing import refused

SHAPES = [(6, 6), (1, 1), (3, 7, 7), (2, 3, 5, 8), (2, 4, 3, 8, 5), (1, 9), (9, 1)]


def test_the_eight_views_are_all_different_and_keep_the_pixels():
    image = torch.arange(48.0).reshape(3, 4, 4)
    seen = {tuple(view(image, number).flatten().tolist()) for number in range(VIEWS)}
    assert len(seen) == 8
    for number in range(VIEWS):
        assert view(image, number).sum() == image.sum()
    assert torch.equal(view(image, 0), image)


def test_the_four_views_of_a_rectangle_are_different_and_keep_its_shape():
    image = torch.arange(60.0).reshape(3, 4, 5)
    views = [view(image, number) for number in range(4)]
    assert len({tuple(one.flatten().tolist()) for one in views}) == 4
    assert all(one.shape == image.shape and one.is_contiguous() for one in views)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_flips_and_half_turns_undo_themselves(number):
    image = torch.randn(3, 6, 6)
    assert torch.equal(view(view(image, number), number), image)


@pytest.mark.parametrize("shape", SHAPES)
def test_maps_of_a_view_turn_back(shape):
    image = torch.randn(shape)
    for number in range(views_of(Frame(height=shape[-2], width=shape[-1]))):
        assert torch.equal(unview(view(image, number), number), image)
        assert torch.equal(view(unview(image, number), number), image)


def test_a_map_that_is_computed_patch_by_patch_turns_back_onto_its_image():
    images = torch.randn(2, 3, 16, 24)
    patches = torch.nn.functional.avg_pool2d(images, 8)
    for number in range(4):
        seen = torch.nn.functional.avg_pool2d(view(images, number), 8)
        torch.testing.assert_close(unview(seen, number), patches)


@pytest.mark.parametrize("number", [4, 5, 6, 7])
@pytest.mark.parametrize("turn", [view, unview])
def test_a_rectangle_has_no_quarter_turns(turn, number):
    with refused("usage/out-of-range", match=f"{number} .*4 x 6"):
        turn(torch.zeros(3, 4, 6), number)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 3, 10, 20)])
def test_crops_are_parts_of_the_image_enlarged(shape):
    image = torch.arange(float(math.prod(shape))).reshape(shape)
    numbers = view_numbers(8, "crop")
    views = [view(image, number) for number in numbers]
    assert len({tuple(one.flatten().tolist()) for one in views}) == 8
    assert all(one.shape == image.shape and one.is_contiguous() for one in views)
    assert view(image, 8).amax() < image.amax()
    assert view(image, 8).amin() == image.amin()
    assert view(image, 11).amax() == image.amax()


def test_crops_of_class_numbers_have_no_new_ones_and_lie_as_those_of_the_picture():
    classes = torch.randint(5, (12, 18)) * 7
    for number in view_numbers(8, "crop"):
        seen = view(classes, number)
        assert seen.dtype == classes.dtype
        assert set(seen.unique().tolist()) <= set(classes.unique().tolist())
    halves = torch.zeros(40, 40, dtype=torch.int64)
    halves[:, 17:] = 1
    for number in view_numbers(8, "crop"):
        assert (view(halves, number) == view(halves.float(), number).round()).all()


@pytest.mark.parametrize("number", [-1, 14])
def test_there_is_no_such_view(number):
    with refused("usage/out-of-range"):
        view(torch.zeros(3, 6, 6), number)


def test_a_frame_says_how_many_views_it_has():
    square, wide = Frame(height=28, width=28, fit="letterbox"), Frame(height=28, width=42)
    assert (views_of(square), views_of(wide)) == (8, 4)
    check_views(square, 8, whose="views")
    with refused("usage/too-many-views", match="28 x 42"):
        check_views(wide, 5, whose="views")
    check_views(wide, 8, order="crop", whose="views")


def test_a_crop_cannot_be_turned_back():
    with refused("usage/out-of-range"):
        unview(torch.zeros(3, 6, 6), 8)


@pytest.mark.parametrize("number", range(VIEWS))
def test_a_graph_turns_maps_back(number):
    class Turn(torch.nn.Module):
        def forward(self, maps):
            return unview(view(maps, number), number)

    maps = torch.randn(2, 1, 5, 5)
    recorded = torch.export.export(
        Turn(), (maps,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    assert torch.equal(recorded.module()(torch.cat([maps, maps])), torch.cat([maps, maps]))


@pytest.mark.parametrize("number", [*range(8), *view_numbers(8, "crop")])
def test_boxes_lie_in_a_view_where_their_pixels_do(number):
    size = (40, 40)
    image = torch.zeros(size)
    image[6:16, 10:30] = 1
    box = torch.tensor([[20 / 40, 11 / 40, 20 / 40, 10 / 40]])
    x, y, width, height = (view_boxes(box, number, size)[0] * 40).tolist()
    rows, columns = (view(image, number) > 0.5).nonzero(as_tuple=True)
    if not len(rows):
        assert min(x + width / 2, y + height / 2, 40 - x + width / 2, 40 - y + height / 2) < 1
        return
    ends = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).tolist()
    found = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    assert found == pytest.approx(ends, abs=1.01) or number > 7
    assert [min(max(one, 0), 40) for one in found] == pytest.approx(ends, abs=1.01)


@pytest.mark.parametrize("number", range(VIEWS))
def test_boxes_of_a_view_turn_back(number):
    boxes = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unview_boxes(view_boxes(boxes, number, (9, 9)), number), boxes)
