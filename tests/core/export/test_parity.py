"""The parity gate."""

import pytest
import torch

from moekit.errors import MoekitError
from moekit.export.parity import BATCHES, check_parity
from moekit.runtime.predictor import Scores


def scorer(*, score=0.0, place=0.0, everywhere=0.0, maps=True, only_batch=None, kinds=None):
    """Scores by the mean, off by a number each; where `only_batch` is given, in such batches."""

    def call(images):
        off = only_batch in (None, len(images))
        map_BHW = images[:, 0, ::4, ::4].clone() + (everywhere if off else 0.0)
        map_BHW[0, 0, 0] += place if off else 0.0
        return Scores(
            score_B=images.double().mean((1, 2, 3)) + (score if off else 0.0),
            map_BHW=map_BHW if maps else None,
            baseline_B=None,
            baseline_map_BHW=None,
            seconds=0.0,
            kinds=kinds and (kinds,) * len(images),
        )

    return call


@pytest.fixture
def images(generator):
    return torch.rand(sum(BATCHES), 3, 32, 32, generator=generator)


def check(images, graph):
    return check_parity(images, graph=graph, kit=scorer(), whose="a graph")


def test_the_same_numbers_hold_and_are_counted(images):
    parity = check(images, scorer())
    assert (parity.n, parity.batches, parity.score, parity.map) == (23, BATCHES, 0.0, 0.0)


def test_a_tie_in_one_place_of_a_map_holds(images):
    parity = check(images, scorer(place=0.01))
    assert parity.map == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize(
    "fault",
    [
        {"score": 2e-4},
        {"score": float("nan")},
        {"place": 0.06},
        {"everywhere": 2e-3},
        {"everywhere": float("nan")},
        {"maps": False},
        {"score": 2e-4, "only_batch": 1},
        {"score": 2e-4, "only_batch": 16},
    ],
    ids=str,
)
def test_what_differs_is_refused(images, fault):
    with pytest.raises(MoekitError, match="differs from the kit on 23 images"):
        check(images, scorer(**fault))


def test_other_shapes_are_refused(images):
    def static(batch):
        return scorer()(images[:2])

    with pytest.raises(MoekitError, match="by inf in a score"):
        check(images, static)


def test_few_images_make_fewer_batches(images):
    assert check(images[:4], scorer()).batches == (1, 1, 2)


def test_without_maps_scores_are_compared(images):
    parity = check_parity(images, graph=scorer(maps=False), kit=scorer(maps=False), whose="-")
    assert parity.map is None


def test_another_kind_of_image_is_refused(images):
    with pytest.raises(MoekitError, match="another kind"):
        check(images, scorer(kinds="bottle"))
