"""Crops around candidates."""

import dataclasses

import numpy as np
import pytest
from inference_series import NODULE_MM, Thorax, draw

from moekit_medical.hounsfield import WINDOW_HU
from moekit_medical.inference.crops import PIXEL_MM, PIXELS, cut_crops, cut_stacks
from moekit_medical.loaders.crops import Form, crop_stack, turn_to_patient
from moekit_medical.volume import Volume


def flat(thorax: Volume, hu_HW: np.ndarray, spacing: float) -> Volume:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 3.0, spacing, spacing, 1.0
    hu_DHW = np.stack([hu_HW] * 3).astype(np.float32)
    return dataclasses.replace(thorax, hu_DHW=hu_DHW, affine=affine)


@pytest.mark.parametrize(
    ("hu", "value"), [(-2000, 0), (-1000, 0), (-300, 127), (400, 255), (3000, 255)]
)
def test_the_window_is_that_of_the_training_crops(thorax: Volume, hu: int, value: int) -> None:
    volume = flat(thorax, np.full((200, 200), hu), 0.7)
    assert np.unique(cut_crops(volume, np.array([[70.0, 70.0, 3.0]]))).tolist() == [value]


def test_the_candidate_lies_on_pixel_25_with_columns_to_the_left_and_rows_to_the_back(
    thorax: Volume,
) -> None:
    hu_HW = np.full((200, 200), -1000)
    hu_HW[100, 90] = hu_HW[100, 93] = hu_HW[107, 90] = 400
    (crop_SS,) = cut_crops(flat(thorax, hu_HW, PIXEL_MM), np.array([[63.0, 70.0, 3.2]]))
    assert np.argwhere(crop_SS == 255).tolist() == [[25, 25], [25, 28], [32, 25]]


@pytest.mark.parametrize("pixel_mm", [0.4, 0.7, 1.1])
def test_a_ball_has_its_size_in_mm_whatever_the_pixels_of_the_series(pixel_mm: float) -> None:
    volume = draw(Thorax(pixel_mm=pixel_mm, step_mm=9.0, half_picture_mm=(100.0, 60.0)))
    (crop_SS,) = cut_crops(volume, np.array([NODULE_MM]))
    slice_mm = abs(NODULE_MM[2] - volume.to_patient(np.array([[5, 0, 0]]))[0, 2])
    expected_mm = 2 * np.sqrt(6**2 - slice_mm**2)
    area = np.pi * (expected_mm / 2) ** 2 / PIXEL_MM**2
    assert crop_SS.shape == (PIXELS, PIXELS)
    assert (crop_SS[10:40, 10:40] > 109).sum() == pytest.approx(area, rel=0.08)


def test_beyond_the_slice_there_is_air(thorax: Volume) -> None:
    (crop_SS,) = cut_crops(flat(thorax, np.full((60, 60), 400), 0.7), np.array([[0.0, 0.0, 3.0]]))
    assert (crop_SS[25:, 25:] == 255).all()
    assert not crop_SS[:24].any()
    assert not crop_SS[:, :24].any()


def test_a_candidate_far_outside_gives_air(thorax: Volume) -> None:
    volume = flat(thorax, np.full((60, 60), 400), 0.7)
    assert not cut_crops(volume, np.array([[500.0, -500.0, 99.0]])).any()


def test_no_candidates_give_no_crops(thorax: Volume) -> None:
    assert cut_crops(thorax, np.empty((0, 3))).shape == (0, PIXELS, PIXELS)


def test_a_stack_is_cut_as_the_loaders_cut_it(thorax: Volume) -> None:
    places = np.array([NODULE_MM, (60.0, 20.0, -45.0)])
    stacks_NTSS, beyond = cut_stacks(thorax, places, frames=5)
    assert (stacks_NTSS.shape, beyond) == ((2, 5, 100, 100), 1)
    scan = turn_to_patient(thorax.hu_DHW, thorax.affine)
    for stack_TSS, place in zip(stacks_NTSS, places, strict=True):
        loaded = crop_stack(scan, place, form=Form(window=WINDOW_HU, slices=5))
        assert np.array_equal(stack_TSS, loaded.pixels_THW)


def test_no_candidates_give_no_stacks(thorax: Volume) -> None:
    stacks_NTSS, beyond = cut_stacks(thorax, np.empty((0, 3)), frames=3)
    assert (stacks_NTSS.shape, beyond) == ((0, 3, 100, 100), 0)
