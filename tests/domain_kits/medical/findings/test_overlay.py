"""Pictures of findings."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused
from moekit_medical.findings.overlay import draw_overlay, write_overlay
from moekit_medical.findings.record import Finding


def finding(d: float = 3.2, h: float = 8.0, w: float = 8.0, size: float = 2.0) -> Finding:
    return Finding(
        score=0.5, centre_mm=(0.0, 0.0, 0.0), centre_index=(d, h, w), sop_uid="1", size_mm=size
    )


def flat(volume, hu_of_slice):
    planes = np.array(hu_of_slice, dtype=np.float32)[:, None, None]
    return dataclasses.replace(volume, hu_DHW=np.broadcast_to(planes, (8, 16, 16)).copy())


def test_the_nearest_slice_is_shown_in_the_lung_window(volume):
    hu = [0, 0, 0, -300, 400, 0, 0, 0]
    pixels = np.asarray(draw_overlay(flat(volume, hu), finding(d=3.4)))
    assert pixels.shape == (16, 16, 3)
    assert pixels[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize(("hu", "gray"), [(-2000, 0), (-1000, 0), (400, 255), (3000, 255)])
def test_the_window_is_cut_at_its_ends(volume, hu, gray):
    pixels = np.asarray(draw_overlay(flat(volume, [hu] * 8), finding()))
    assert pixels[0, 0].tolist() == [gray] * 3


def test_the_ring_goes_around_the_place_and_leaves_it_visible(volume):
    pixels = np.asarray(draw_overlay(flat(volume, [400] * 8), finding(h=7, w=9))).astype(int)
    ring = np.argwhere(pixels[..., 0] > pixels[..., 1] + 100)
    assert ring.mean(0) == pytest.approx((7, 9), abs=0.5)
    assert np.abs(ring - (7, 9)).min(0).max() == 0
    assert pixels[7, 9].tolist() == [255, 255, 255]
    # 2 mm are 4 rows of 0.5 mm and 2.7 columns of 0.75 mm, and 2 pixels of room are on each side.
    extent_h, extent_w = np.ptp(ring, axis=0)
    assert extent_h > extent_w


def test_a_repeat_makes_the_same_bytes_and_the_file_says_it_is_research(volume, tmp_path):
    write_overlay(tmp_path / "a.png", volume, finding())
    write_overlay(tmp_path / "b.png", volume, finding())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.info == {"Disclaimer": "Research software, not for clinical use."}
        assert np.array_equal(np.asarray(image), np.asarray(draw_overlay(volume, finding())))


def test_nothing_of_the_series_is_in_the_file(volume, tmp_path):
    marked = dataclasses.replace(volume, study_uid="MARKER", facts={"patient_sex": "MARKER"})
    write_overlay(tmp_path / "a.png", marked, finding())
    write_overlay(tmp_path / "b.png", volume, finding())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("place", [(8.0, 1.0, 1.0), (0.0, -1.0, 1.0), (0.0, 1.0, 16.0)])
def test_a_place_outside_the_volume_is_refused(volume, place):
    with refused("data/outside-volume"):
        draw_overlay(volume, finding(*place))
