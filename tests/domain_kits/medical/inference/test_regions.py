"""Regions grown around findings."""

import numpy as np
import pytest
from inference_series import NODULE_MM, VESSEL_XY_MM, Thorax, draw

from moekit_medical.findings.record import Finding
from moekit_medical.inference.regions import grow_regions
from moekit_medical.volume import Volume


def at(volume: Volume, point: tuple[float, float, float], size_mm: float = 12.0) -> Finding:
    d, h, w = volume.to_index(np.array([point]))[0].tolist()
    return Finding(
        score=0.5, centre_mm=point, centre_index=(d, h, w), sop_uid="1.2", size_mm=size_mm
    )


def test_the_region_of_a_nodule_has_its_volume() -> None:
    volume = draw(Thorax(step_mm=1.5))
    regions = grow_regions(volume, [at(volume, NODULE_MM)])
    assert regions.numbers == (1,)
    assert regions.number_DHW.sum() * 1.5**3 == pytest.approx(np.pi * 12**3 / 6, rel=0.2)


def test_a_region_ends_at_the_estimated_size(thorax: Volume) -> None:
    regions = grow_regions(thorax, [at(thorax, (*VESSEL_XY_MM, 0.0), size_mm=10.0)])
    used = np.flatnonzero(regions.number_DHW.any(axis=(1, 2)))
    assert 0 < (used[-1] - used[0]) * 3.0 <= 12.0 + 3.0


def test_a_finding_on_a_thick_slice_has_a_region() -> None:
    volume = draw(Thorax(step_mm=8.0))
    assert grow_regions(volume, [at(volume, NODULE_MM, size_mm=5.0)]).numbers == (1,)


def test_a_finding_in_air_has_no_region(thorax: Volume) -> None:
    regions = grow_regions(thorax, [at(thorax, (65.0, -20.0, 0.0))])
    assert (regions.numbers, regions.dark) == ((), (1,))
    assert not regions.number_DHW.any()


def test_a_finding_at_the_corner_of_the_volume_is_no_error(thorax: Volume) -> None:
    corner = tuple(thorax.affine[:3, 3].tolist())
    assert grow_regions(thorax, [at(thorax, corner)]).numbers == ()


def test_each_finding_has_voxels_of_its_own_and_the_best_one_those_of_both(thorax: Volume) -> None:
    vessel = (*VESSEL_XY_MM, 0.0)
    beside = (*VESSEL_XY_MM, 9.0)
    two = [at(thorax, vessel, size_mm=10.0), at(thorax, beside, size_mm=10.0)]
    regions = grow_regions(thorax, two)
    alone = grow_regions(thorax, two[:1]).number_DHW > 0
    assert regions.numbers == (1, 2)
    assert np.array_equal(regions.number_DHW == 1, alone)
    again = grow_regions(thorax, [two[0], two[0]])
    assert (again.numbers, again.covered) == ((1,), {2: 1})
