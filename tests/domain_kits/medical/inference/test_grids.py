"""Turning, reducing and reading volumes."""

import dataclasses

import numpy as np
import pytest

from moekit_medical.inference.grids import carry, reduce, triangle_weights, upright
from moekit_medical.volume import Volume


def slope(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> Volume:
    """HU = x + 2 y + 3 z."""
    affine = np.array(
        [[0, 0, spacing[2], -20], [0, spacing[1], 0, -30], [spacing[0], 0, 0, 5], [0, 0, 0, 1.0]]
    )
    index_N3 = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    place_N3 = index_N3 @ affine[:3, :3].T + affine[:3, 3]
    hu_DHW = (place_N3 @ [1, 2, 3]).reshape(shape).astype(np.float32)
    return Volume(
        hu_DHW=hu_DHW,
        affine=affine,
        series_uid="1",
        study_uid="2",
        frame_of_reference_uid=None,
        sop_uids=(),
    )


def holds_slope(volume: Volume, *, atol: float = 1e-3) -> bool:
    index_N3 = np.argwhere(np.ones(volume.hu_DHW.shape, dtype=bool))
    expected_N = volume.to_patient(index_N3) @ [1, 2, 3]
    return bool(np.allclose(volume.hu_DHW.ravel(), expected_N, atol=atol))


def test_a_reduced_volume_has_the_mean_of_what_each_voxel_covers_at_its_place() -> None:
    volume = slope((1.0, 0.5, 0.7), (9, 31, 23))
    reduced = reduce(volume, to_mm=1.5)
    assert reduced.hu_DHW.shape == (6, 10, 11)
    assert reduced.hu_DHW.mean() == pytest.approx(volume.hu_DHW.mean(), abs=1e-3)
    # A voxel that lies in two new ones counts with its own mean in both.
    assert holds_slope(reduced, atol=0.5)


def test_a_volume_reduced_by_whole_numbers_keeps_a_slope_exactly() -> None:
    reduced = reduce(slope((1.0, 0.5, 1.0), (8, 32, 22)), to_mm=2.0)
    assert reduced.spacing_mm == pytest.approx((2.0, 2.0, 2.0))
    assert holds_slope(reduced)


def test_no_axis_is_made_finer() -> None:
    volume = slope((8.0, 2.0, 0.5), (4, 5, 12))
    reduced = reduce(volume, to_mm=1.0)
    assert reduced.spacing_mm == pytest.approx((8.0, 2.0, 1.0))
    assert holds_slope(reduced)


def test_values_on_a_reduced_grid_are_read_back_at_the_voxels_of_the_volume() -> None:
    volume = slope((1.0, 0.5, 0.5), (12, 24, 24))
    carried_DHW = carry(reduce(volume, to_mm=2.0).hu_DHW, volume)
    inner = (slice(2, -2), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(carried_DHW[inner], volume.hu_DHW[inner], atol=1e-3)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)])
def test_a_volume_seen_from_any_side_is_turned_upright_with_each_voxel_in_place(
    order: tuple[int, int, int],
) -> None:
    volume = slope((3.0, 0.5, 0.7), (4, 5, 6))
    affine = volume.affine[:, [*order, 3]].copy()
    hu_DHW = np.flip(volume.hu_DHW.transpose(order), (0, 2))
    for axis in (0, 2):
        affine[:3, 3] += affine[:3, axis] * (hu_DHW.shape[axis] - 1)
        affine[:3, axis] *= -1
    turned = upright(dataclasses.replace(volume, hu_DHW=hu_DHW, affine=affine))
    np.testing.assert_array_equal(turned.hu_DHW, volume.hu_DHW)
    np.testing.assert_allclose(turned.affine, volume.affine, atol=1e-9)


def test_weights_interpolate_between_voxels_and_fade_out_beyond_the_line() -> None:
    weights = triangle_weights(np.array([1.25, -0.5, -7.0]), 4)
    np.testing.assert_allclose(weights, [[0, 0.75, 0.25, 0], [0.5, 0, 0, 0], [0, 0, 0, 0]])


def test_weights_of_wide_steps_average() -> None:
    weights = triangle_weights(np.array([2.0, 5.0]), 8, step=3.0)
    np.testing.assert_allclose(weights[0], np.array([1, 2, 3, 2, 1, 0, 0, 0]) / 9, atol=1e-6)
