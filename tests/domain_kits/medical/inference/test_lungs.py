"""The lung region of drawn chests."""

import dataclasses
import math

import numpy as np
import pytest
from inference_series import (
    LENGTH_MM,
    LUNG_SEMI_MM,
    LUNG_X_MM,
    NODULE_MM,
    VESSEL_XY_MM,
    WALL_NODULE_MM,
    Thorax,
    draw,
)

from moekit_medical.inference.lungs import Lungs, find_lungs
from moekit_medical.volume import Volume

LUNGS_ML = 2 * math.pi * math.prod(LUNG_SEMI_MM) * LENGTH_MM / 1000


def inside_mm(lungs: Lungs, *point: float) -> float:
    d, h, w = lungs.grid.to_index(np.array([point]))[0].round().astype(int)
    return float(lungs.inside_mm_DHW[d, h, w])


@pytest.mark.parametrize("step_mm", [1.5, 3.0, 8.0])
def test_both_lungs_are_found_with_their_volume(step_mm: float) -> None:
    lungs = find_lungs(draw(Thorax(step_mm=step_mm, pixel_mm=2.0)))
    assert lungs is not None
    assert lungs.volume_ml == pytest.approx(LUNGS_ML, rel=0.08)
    assert inside_mm(lungs, -LUNG_X_MM, 0, 0) > 15
    assert inside_mm(lungs, LUNG_X_MM, 0, 0) > 15
    assert inside_mm(lungs, 0, 0, 0) < 0
    assert inside_mm(lungs, -150, 0, 0) < -20


def test_nodules_and_vessels_are_in_the_region() -> None:
    lungs = find_lungs(draw(Thorax(nodules_mm=(NODULE_MM, WALL_NODULE_MM))))
    assert lungs is not None
    assert inside_mm(lungs, *NODULE_MM) > 5
    assert inside_mm(lungs, *VESSEL_XY_MM, 0) > 5
    assert inside_mm(lungs, *WALL_NODULE_MM[:1], -64.0, WALL_NODULE_MM[2]) > 0


def test_a_body_without_lungs_has_none() -> None:
    assert find_lungs(draw(Thorax(lungs=False))) is None


def test_a_picture_of_air_or_of_tissue_has_none(thorax: Volume) -> None:
    for value in (-1000, 40):
        plain = np.full((6, 40, 40), value, dtype=np.float32)
        assert find_lungs(dataclasses.replace(thorax, hu_DHW=plain)) is None


def test_gas_is_not_lung(thorax: Volume) -> None:
    gas = np.where(thorax.hu_DHW < -500, -1000, thorax.hu_DHW)
    assert find_lungs(dataclasses.replace(thorax, hu_DHW=gas)) is None


def test_foam_of_a_table_is_not_lung_though_it_has_its_density() -> None:
    lungs = find_lungs(draw(Thorax(foam=True)))
    assert lungs is not None
    assert lungs.volume_ml == pytest.approx(LUNGS_ML, rel=0.08)
    assert inside_mm(lungs, 0, 112, 0) < -10


def test_lungs_that_reach_the_edge_of_the_picture_are_found() -> None:
    lungs = find_lungs(draw(Thorax(half_picture_mm=(160, 55))))
    assert lungs is not None
    assert inside_mm(lungs, -LUNG_X_MM, -50, 0) > 0
    assert inside_mm(lungs, 155, 0, 0) < -10
