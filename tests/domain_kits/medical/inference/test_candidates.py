"""Candidates in drawn chests."""

import dataclasses

import numpy as np
import pytest
from inference_series import NODULE_MM, VESSEL_XY_MM, WALL_NODULE_MM, Thorax, draw

from moekit_medical.inference.candidates import APART_MM, Candidates, find_candidates
from moekit_medical.inference.grids import upright
from moekit_medical.inference.lungs import find_lungs
from moekit_medical.volume import Volume


def find(volume: Volume, most: int = 800) -> Candidates:
    turned = upright(volume)
    lungs = find_lungs(turned)
    assert lungs is not None
    return find_candidates(turned, lungs, most=most)


def nearest(candidates: Candidates, point: tuple[float, float, float]) -> tuple[int, float]:
    away_mm_N = np.linalg.norm(candidates.centre_mm_N3 - point, axis=1)
    return int(away_mm_N.argmin()), float(away_mm_N.min())


@pytest.mark.parametrize("step_mm", [2.0, 3.0, 5.0])
def test_a_nodule_is_the_strongest_candidate_within_three_mm(step_mm: float) -> None:
    rank, away_mm = nearest(find(draw(Thorax(step_mm=step_mm))), NODULE_MM)
    assert rank == 0
    assert away_mm < 3


def test_a_nodule_is_found_on_slices_of_eight_mm() -> None:
    candidates = find(draw(Thorax(step_mm=8.0)))
    rank, away_mm = nearest(candidates, NODULE_MM)
    assert rank < 5
    assert away_mm < 5


@pytest.mark.parametrize("diameter_mm", [6.0, 20.0])
def test_the_diameter_of_a_nodule_is_estimated(diameter_mm: float) -> None:
    candidates = find(draw(Thorax(step_mm=2.0, diameter_mm=diameter_mm)))
    rank, _ = nearest(candidates, NODULE_MM)
    assert rank == 0
    assert candidates.diameter_mm_N[rank] == pytest.approx(diameter_mm, rel=0.25)


def test_a_nodule_at_the_pleura_is_found() -> None:
    rank, away_mm = nearest(find(draw(Thorax(nodules_mm=(WALL_NODULE_MM,)))), WALL_NODULE_MM)
    assert rank < 10
    assert away_mm < 4


def test_a_vessel_is_weaker_than_a_nodule() -> None:
    candidates = find(draw(Thorax()))
    on_vessel_N = np.linalg.norm(candidates.centre_mm_N3[:, :2] - VESSEL_XY_MM, axis=1) < 4
    assert candidates.strength_N[0] > 3 * candidates.strength_N[on_vessel_N].max(initial=0)


def test_no_more_than_asked_for_are_given_and_they_are_the_strongest(thorax: Volume) -> None:
    all_, few = find(thorax), find(thorax, most=7)
    assert len(all_) > 7
    assert len(few) == 7
    np.testing.assert_array_equal(few.centre_mm_N3, all_.centre_mm_N3[:7])
    assert (np.diff(all_.strength_N) <= 0).all()


def test_what_is_beyond_the_number_asked_for_is_counted(thorax: Volume) -> None:
    all_, few = find(thorax), find(thorax, most=7)
    assert all_.dropped == 0
    assert few.dropped == len(all_) - 7 > 0


def test_candidates_are_apart(thorax: Volume) -> None:
    centre_N3 = find(thorax).centre_mm_N3
    away_NN = np.linalg.norm(centre_N3[:, None] - centre_N3, axis=2)
    assert away_NN[~np.eye(len(centre_N3), dtype=bool)].min() >= APART_MM


def test_candidates_do_not_depend_on_how_the_volume_is_turned(thorax: Volume) -> None:
    affine = thorax.affine[:, [2, 0, 1, 3]].copy()
    hu_DHW = thorax.hu_DHW.transpose(2, 0, 1)[::-1]
    affine[:3, 3] += affine[:3, 0] * (len(hu_DHW) - 1)
    affine[:3, 0] *= -1
    turned = find(dataclasses.replace(thorax, hu_DHW=hu_DHW, affine=affine))
    np.testing.assert_allclose(turned.centre_mm_N3, find(thorax).centre_mm_N3, atol=1e-6)


def test_no_candidate_lies_between_two_slices(thorax: Volume) -> None:
    along_D = upright(thorax).to_index(find(thorax).centre_mm_N3)[:, 0]
    from_middle = np.abs(along_D - np.round(along_D))
    assert from_middle.max() > 0.4, "nothing to distinguish"
    assert from_middle.max() < 0.4995
