"""A recipe and the typical picture decide the frame."""

import pydantic
import pytest

from moekit import Recipe
from moekit.contract.frames import frame_of
from moekit.data.geometry import Frame
from moekit.testing import refused


def test_a_recipe_without_a_word_of_it_is_a_squashed_square():
    assert frame_of(Recipe(), 14, (100, 300)) == Frame(height=224, width=224, fit="squash")


@pytest.mark.parametrize(
    ("typical", "sides"),
    [
        ((300, 300), (224, 224)),
        ((100, 200), (112, 224)),
        ((200, 100), (224, 112)),
        ((480, 640), (168, 224)),
        ((1, 1000), (14, 224)),
        (None, (224, 224)),
    ],
)
def test_a_letterbox_has_the_shape_of_the_data(typical, sides):
    frame = frame_of(Recipe(fit="letterbox"), 14, typical)
    assert (frame.height, frame.width, frame.fit) == (*sides, "letterbox")


def test_both_sides_of_a_found_frame_are_multiples_of_the_patch():
    frame = frame_of(Recipe(fit="letterbox", image_size=250), 16, (333, 500))
    assert (frame.height, frame.width) == (160, 256)


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
def test_a_given_side_wins_over_the_data(fit):
    both = Recipe(fit=fit, image_height=112, image_width=448, views=1)
    assert frame_of(both, 14, (300, 300)) == Frame(height=112, width=448, fit=fit)
    one = Recipe(fit=fit, image_height=112, views=1)
    assert frame_of(one, 14, (300, 300)) == Frame(height=112, width=224, fit=fit)


@pytest.mark.parametrize("name", ["image_height", "image_width", "image_size"])
def test_a_side_that_is_no_multiple_of_the_patch_is_refused_by_name(name):
    with refused("usage/image-size", match="100") as caught:
        frame_of(Recipe(**{name: 100}), 14)
    assert caught.value.whose == name
    assert caught.value.fix == "choose 98 or 112"


@pytest.mark.parametrize("name", ["views", "scoring_views"])
def test_a_rectangle_has_four_views(name):
    eight = Recipe(**{name: 8, "fit": "letterbox"})
    assert frame_of(eight, 14, (300, 300)).height == 224
    with refused("usage/too-many-views") as caught:
        frame_of(eight, 14, (100, 300))
    assert caught.value.whose == name


@pytest.mark.parametrize("change", [{"image_height": 0}, {"image_width": -14}, {"fit": "crop"}])
def test_a_recipe_refuses_what_can_be_no_frame(change):
    with pytest.raises(pydantic.ValidationError):
        Recipe(**change)


def test_crops_are_for_training_alone():
    wide = {"image_height": 28, "image_width": 42, "view_order": "crop"}
    assert frame_of(Recipe(views=8, scoring_views=2, **wide), 14).width == 42
    assert Recipe(**wide).scoring_order == "mirror"
    with refused("usage/too-many-views", match="mirror has 2"):
        frame_of(Recipe(views=8, scoring_views=3, **wide), 14)
