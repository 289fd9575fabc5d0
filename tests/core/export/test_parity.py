"""The parity gate."""

import pytest
import torch

from moekit.export.parity import BATCHES, check_parity
from moekit.runtime.predictor import Computed
from moekit.tasks.score import SCORE
from moekit.testing import refused


def scorer(*, score=0.0, place=0.0, everywhere=0.0, maps=True, only_batch=None, kinds=None):
    """Scores by the mean, off by a number each; where `only_batch` is given, in such batches."""

    def call(images):
        off = only_batch in (None, len(images))
        score_B = images.double().mean((1, 2, 3)) + (score if off else 0.0)
        map_BHW = images[:, 0, ::4, ::4].clone() + (everywhere if off else 0.0)
        map_BHW[0, 0, 0] += place if off else 0.0
        outputs = {"logit_B": score_B.logit()}
        if maps:
            outputs["map_BHW"] = map_BHW
        if kinds is not None:
            outputs["kind_B"] = torch.full((len(images),), kinds)
        return Computed(outputs=(outputs,), seconds=0.0)

    return call


def greatest(parity):
    """The greatest difference of each field."""
    return {field.field: field.greatest for field in parity.fields}


@pytest.fixture
def images(generator):
    return torch.rand(sum(BATCHES), 3, 32, 32, generator=generator)


def check(images, graph):
    return check_parity(images, graph=graph, kit=scorer(), task=SCORE, whose="a graph")


def test_the_same_numbers_hold_and_are_counted(images):
    parity = check(images, scorer())
    assert (parity.n, parity.batches) == (23, BATCHES)
    assert greatest(parity) == {"logit_B": 0.0, "map_BHW": 0.0, "score_B": 0.0}


def test_a_tie_in_one_place_of_a_map_holds(images):
    parity = check(images, scorer(place=0.01))
    assert greatest(parity)["map_BHW"] == pytest.approx(0.01, abs=1e-6)


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
    with refused("error/graph-differs", match="23"):
        check(images, scorer(**fault))


def test_other_shapes_are_refused(images):
    def static(batch):
        return scorer()(images[:2])

    with refused("error/graph-differs", match="inf.*score_B"):
        check(images, static)


def test_few_images_make_fewer_batches(images):
    assert check(images[:4], scorer()).batches == (1, 1, 2)


def test_without_maps_scores_are_compared(images):
    parity = check_parity(
        images, graph=scorer(maps=False), kit=scorer(maps=False), task=SCORE, whose="-"
    )
    assert greatest(parity) == {"logit_B": 0.0, "score_B": 0.0}


@pytest.mark.parametrize("known", [None, 0])
def test_another_kind_of_image_is_refused(images, known):
    with refused("error/graph-differs", match="kind_B"):
        check_parity(
            images, graph=scorer(kinds=1), kit=scorer(kinds=known), task=SCORE, whose="a graph"
        )


def test_the_record_has_every_field_with_its_tolerance(images):
    record = check(images, scorer()).as_json()
    assert record["fields"]["map_BHW"] == {
        "greatest": 0.0,
        "mean": 0.0,
        "tolerance": 0.05,
        "mean_tolerance": 1e-3,
    }
    assert record["fields"]["logit_B"]["tolerance"] is None
