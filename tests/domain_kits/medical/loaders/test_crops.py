"""Crops: what they show of a volume whose values say where in the patient they are."""

import numpy as np
import pytest
from scipy import ndimage

from moekit_medical.loaders.crops import CropError, crop, turn_to_patient

WINDOW = (-1000.0, 1000.0)
SHAPE_DHW = (6, 80, 70)


def make_affine(order=(2, 1, 0), signs=(1, 1, 1), spacing=(3.0, 0.8, 0.9)):
    """From array indices to LPS mm: array axis n runs along the patient's axis order[n]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (target, sign, step) in enumerate(zip(order, signs, spacing, strict=True)):
        affine[target, axis] = sign * step
    affine[:3, 3] = (-20.0, 15.0, 100.0)
    return affine


def ramp(affine, shape=SHAPE_DHW):
    """HU are 8 x + 3 y + 20 z, relative to the middle of the volume."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    place = index @ affine[:3, :3].T
    place -= place.reshape(-1, 3).mean(axis=0)
    return (place @ (8.0, 3.0, 20.0)).astype(np.float32)


def middle(affine, shape=SHAPE_DHW):
    """The centre of a voxel near the middle, LPS mm."""
    return affine[:3, :3] @ (np.array(shape) // 2) + affine[:3, 3]


def test_a_crop_is_50_mm_wide_and_its_centre_is_the_point():
    affine = make_affine()
    pixels = crop(turn_to_patient(ramp(affine), affine), middle(affine), window=WINDOW).astype(
        float
    )
    assert pixels.shape == (100, 100)
    hu = pixels / 255 * 2000 - 1000
    along_x, along_y = hu[50, 10:90], hu[10:90, 50]
    assert np.allclose(np.diff(along_x), 8 * 0.5, atol=8)  # 8 HU a mm in steps of 7.8 HU
    assert abs((along_x[-1] - along_x[0]) - 8 * 0.5 * 79) < 10
    assert abs((along_y[-1] - along_y[0]) - 3 * 0.5 * 79) < 10
    expected = float(ramp(affine)[3, 40, 35])
    assert abs(hu[49:51, 49:51].mean() - expected) < 5


@pytest.mark.parametrize(
    ("order", "signs"),
    [
        ((2, 1, 0), (1, 1, 1)),
        ((2, 1, 0), (-1, 1, 1)),
        ((2, 1, 0), (1, -1, -1)),
        ((0, 1, 2), (1, 1, 1)),
        ((0, 1, 2), (-1, -1, 1)),
        ((1, 2, 0), (-1, -1, 1)),
        ((0, 2, 1), (1, -1, 1)),
    ],
)
def test_a_crop_is_the_same_however_the_array_lies_in_the_file(order, signs):
    shape = tuple({2: 6, 1: 80, 0: 70}[axis] for axis in order)
    spacing = tuple({2: 3.0, 1: 0.8, 0: 0.9}[axis] for axis in order)
    affine = make_affine(order, signs, spacing)
    point = middle(affine, shape)
    scan = turn_to_patient(ramp(affine, shape), affine)
    assert scan.hu_DHW.shape == SHAPE_DHW
    pixels = crop(scan, point, window=WINDOW).astype(int)
    assert pixels[50, 80] > pixels[50, 20] + 25  # the patient's left is on the right
    assert pixels[80, 50] > pixels[20, 50] + 8  # the back is below
    hu = 8 * np.indices((100, 100))[1] * 0.5 + 3 * np.indices((100, 100))[0] * 0.5
    inside = (slice(20, 80), slice(20, 80))
    difference = (pixels / 255 * 2000 - hu)[inside]
    assert difference.max() - difference.min() < 10


def test_the_slice_nearest_to_the_point_is_shown_without_mixing():
    hu_DHW = np.zeros(SHAPE_DHW, np.float32)
    hu_DHW += 100 * np.arange(6)[:, None, None]
    hu_DHW[:, 40, 35] += 300
    affine = make_affine()
    scan = turn_to_patient(hu_DHW, affine)
    levels = [
        int(crop(scan, middle(affine) + np.array([0, 0, offset]), window=(0.0, 1000.0))[10, 50])
        for offset in (-1.4, 0.0, 1.4, 1.6)
    ]
    assert levels == [round(300 / 1000 * 255)] * 3 + [round(400 / 1000 * 255)]


def test_values_are_windowed_and_outside_the_volume_is_the_lowest():
    hu_DHW = np.full(SHAPE_DHW, -300, np.float32)
    hu_DHW[:, 3, 3], hu_DHW[:, 6, 6] = -2000, 3000
    affine = make_affine(spacing=(3.0, 1.0, 1.0))
    pixels = crop(turn_to_patient(hu_DHW, affine), affine[:3, 3], window=(-1000.0, 400.0))
    assert np.all(pixels[:49] == 0)
    assert np.all(pixels[:, :49] == 0)
    assert pixels.max() == 255
    assert pixels[90, 90] == round(700 / 1400 * 255)


def test_interpolation_is_that_of_scipy():
    hu_DHW = np.random.default_rng(0).uniform(-900, 300, (3, 30, 40)).astype(np.float32)
    affine = make_affine(spacing=(3.0, 1.3, 1.1))
    point = affine[:3, 3] + affine[:3, :3] @ (1.2, 12.3, 30.1)
    pixels = crop(turn_to_patient(hu_DHW, affine), point, window=(-1000.0, 400.0))
    steps = np.arange(-24.75, 25, 0.5)
    places = np.meshgrid(12.3 + steps / 1.3, 30.1 + steps / 1.1, indexing="ij")
    values = ndimage.map_coordinates(
        hu_DHW[1].astype(float), places, order=1, mode="constant", cval=-1000
    )
    assert np.abs(pixels - (values + 1000) / 1400 * 255).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("change", "point", "says"),
    [
        (lambda hu: hu, (0, 0, -1e3), "outside the volume"),
        (lambda hu: hu, (1e3, 0, 0), "outside the volume"),
        (lambda hu: hu * np.nan, (0, 0, 0), "not finite"),
        (lambda hu: hu * 0 - 2000, (0, 0, 0), "one value only"),
    ],
)
def test_a_crop_that_shows_nothing_is_refused(change, point, says):
    affine = make_affine()
    scan = turn_to_patient(change(ramp(affine)), affine)
    with pytest.raises(CropError, match=says):
        crop(scan, middle(affine) + point, window=WINDOW)
