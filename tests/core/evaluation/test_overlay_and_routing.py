"""Overlays show evidence where it is; routing tables add up."""

import numpy as np
import pytest
import torch
from PIL import Image

from moekit import KitSpec, Recipe, Routing, RoutingTrace, SpecialistSlot
from moekit.evaluation.routing import RoutingTable
from moekit.report.run_files import Routing as RoutingFile
from moekit.tasks.score.answers import ScoreAnswer
from moekit.tasks.score.drawing import draw
from moekit.tasks.score.overlay import LONG_SIDE, draw_overlay


def test_no_evidence_leaves_the_image_as_it_is():
    image = Image.fromarray(np.full((60, 40, 3), 90, dtype=np.uint8))
    assert np.array_equal(np.asarray(draw_overlay(image, np.zeros((4, 4)))), np.asarray(image))


def test_strong_evidence_is_red_where_it_lies():
    image = Image.new("RGB", (160, 160), (90, 90, 90))
    evidence = np.zeros((16, 16))
    evidence[2:5, 11:14] = 1
    pixels = np.asarray(draw_overlay(image, evidence)).astype(int)
    assert pixels[35, 125, 0] - pixels[35, 125, 2] > 60
    assert abs(pixels[130, 30, 0] - pixels[130, 30, 2]) < 10


def test_evidence_below_the_least_has_no_colour_and_what_reaches_it_can_be_seen():
    image = Image.new("RGB", (160, 160), (90, 90, 90))
    evidence = np.full((16, 16), 0.5)
    plain = np.asarray(draw_overlay(image, evidence, least=0.6))
    assert np.array_equal(plain, np.asarray(image))
    evidence[4:12, 4:12] = 0.6
    drawn = np.asarray(draw_overlay(image, evidence, least=0.6)).astype(int)
    assert np.abs(drawn[80, 80] - 90).max() > 15
    assert np.array_equal(drawn[5, 5], [90, 90, 90])


def answer(score, evidence, threshold=0.8):
    return ScoreAnswer(
        score=score, verdict="-", threshold=threshold, kind="", regions=[], map_hw=evidence
    )


def test_a_picture_in_which_nothing_is_found_stays_as_it_is():
    image = Image.new("RGB", (64, 64), (90, 90, 90))
    evidence = np.full((8, 8), 0.5, dtype=np.float32)
    assert np.array_equal(np.asarray(draw(image, answer(0.4, evidence), None, None)), image)
    assert draw(image, answer(0.4, None), None, None) is None


def test_a_positive_picture_shows_its_strongest_evidence_even_below_the_threshold():
    image = Image.new("RGB", (64, 64), (90, 90, 90))
    evidence = np.full((8, 8), 0.1, dtype=np.float32)
    evidence[2:6, 2:6] = 0.6
    drawn = np.asarray(draw(image, answer(0.9, evidence), None, None)).astype(int)
    assert np.abs(drawn[32, 32] - 90).max() > 15
    assert np.array_equal(drawn[2, 2], [90, 90, 90])


def test_a_table_in_which_each_expert_has_all_tokens_says_nothing():
    block = {"block": 0, "load": [0.25] * 4, "entropy": 1.0, "maxvio": 0.0, "dead": []}
    told = {"block": 1, "load": [0.5, 0.3, 0.2, 0.0], "entropy": 1.0, "maxvio": 1.0, "dead": [3]}
    made = RoutingFile.model_validate(
        {"n": 4, "classes": ["all"], "specialists": [], "generic": [block]}
    )
    assert made.generic == []
    made = RoutingFile.model_validate(
        {"n": 4, "classes": ["all"], "specialists": [], "generic": [block, told]}
    )
    assert [one.block for one in made.generic] == [1]


def test_a_large_image_becomes_a_small_overlay_of_the_same_shape():
    drawn = draw_overlay(Image.new("RGB", (3000, 1500)), np.ones((2, 2)))
    assert drawn.size == (LONG_SIDE, LONG_SIDE // 2)


def test_loads_of_a_table_are_shares_by_class():
    kit = KitSpec(
        name="k",
        summary="-",
        slots=(SpecialistSlot(block=-1, experts=("a", "a"), gate="-", top_k=3),),
        head_blocks=(-1,),
        build_head=lambda *_: None,
        recipe=Recipe(),
        metrics=(),
        positive="-",
        outcome_names={},
        demo_dataset="-",
    )
    trace = RoutingTrace()
    expert_TK = torch.tensor([[0, 1, 2]] * 4)
    weight_TK = torch.tensor([[0.5, 0.25, 0.25]] * 2 + [[0.0, 0.0, 1.0]] * 2)
    trace.add(
        block=3,
        kit="k",
        routing=Routing.of_choices(expert_TK, weight_TK, experts=3),
        scores_BNE=torch.zeros(2, 2, 3),
    )
    generic = Routing.of_choices(torch.tensor([[0], [0], [1], [0]]), torch.ones(4, 1), experts=2)
    trace.add(block=0, kit=None, routing=generic, scores_BNE=torch.zeros(2, 2, 2))
    table = RoutingTable(classes=("good", "bad"), kit=kit, depth=4)
    table.add(trace, np.array([0, 1]), [0, 1])
    made = table.as_json()
    assert [row["option"] for row in made["specialists"]] == ["a 1", "a 2", "none"]
    assert [row["load"] for row in made["specialists"]] == [[0.5, 0.0], [0.25, 0.0], [0.25, 1.0]]
    (row,) = made["generic"]
    assert row["load"] == [0.75, 0.25]
    assert row["entropy"] == pytest.approx(np.log(2))
    assert row["maxvio"] == pytest.approx(0.5)
    assert row["dead"] == [number for number, share in enumerate(row["load"]) if share == 0]
