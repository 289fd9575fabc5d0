"""Pictures of findings."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused
from moekit_medical.findings.overlay import Evidence, draw_overlay
from moekit_medical.findings.record import Finding
from moekit_medical.findings.zoom import PIXELS, write_picture


def finding(d: float = 3.2, h: float = 8.0, w: float = 8.0, size: float = 2.0) -> Finding:
    return Finding(
        score=0.5, centre_mm=(0.0, 0.0, 0.0), centre_index=(d, h, w), sop_uid="1", size_mm=size
    )


def flat(volume, hu_of_slice):
    planes = np.array(hu_of_slice, dtype=np.float32)[:, None, None]
    return dataclasses.replace(volume, hu_DHW=np.broadcast_to(planes, (8, 16, 16)).copy())


def test_the_nearest_slice_is_shown_in_the_lung_window(volume):
    hu = [0, 0, 0, -300, 400, 0, 0, 0]
    picture = draw_overlay(flat(volume, hu), finding(d=3.4))
    assert picture.size[0] == PIXELS < picture.size[1]
    # 60 mm are shown; the slice of 8 x 12 mm lies in the middle, and beyond it is nothing.
    pixels = np.asarray(picture)
    assert pixels[PIXELS // 2, PIXELS // 2 - 25].tolist() == [128, 128, 128]
    assert pixels[10, 10].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("hu", "gray"), [(-2000, 0), (-1000, 0), (400, 255), (3000, 255)])
def test_the_window_is_cut_at_its_ends(volume, hu, gray):
    pixels = np.asarray(draw_overlay(flat(volume, [hu] * 8), finding()))
    assert pixels[PIXELS // 2, PIXELS // 2].tolist() == [gray] * 3


def test_a_place_of_the_slice_is_where_its_millimetres_say(volume):
    spot = flat(volume, [-1000] * 8)
    spot.hu_DHW[3, 4, 11] = 400  # 4 rows of 0.5 mm up, 3 columns of 0.75 mm to the right
    pixels = np.asarray(draw_overlay(spot, finding(size=24.0)))[:PIXELS].astype(int)
    place = np.argwhere(pixels[..., 1] > 128).mean(0)
    mm = (place + 0.5 - PIXELS / 2) * 60 / PIXELS
    assert mm == pytest.approx((-2.0, 2.25), abs=0.1)


def test_the_ring_goes_around_the_place_and_leaves_it_visible(volume):
    pixels = np.asarray(draw_overlay(flat(volume, [400] * 8), finding(h=7, w=9))).astype(int)
    ring = np.argwhere(pixels[..., 0] > pixels[..., 1] + 100)
    assert ring.mean(0) == pytest.approx((PIXELS / 2, PIXELS / 2), abs=1)
    # 2 mm at 60 mm over all pixels, with 3 pixels of room on each side; pixels are square.
    assert np.ptp(ring, axis=0) == pytest.approx([2 * PIXELS / 60 + 6] * 2, abs=2)
    assert pixels[PIXELS // 2, PIXELS // 2].tolist() == [255, 255, 255]


def test_the_bar_has_its_length_and_a_large_finding_is_shown_whole(volume):
    for size, side in ((2.0, 60.0), (40.0, 100.0)):
        strip = np.asarray(draw_overlay(volume, finding(size=size)))[PIXELS:, :, 0]
        line = np.flatnonzero(strip[strip.shape[0] // 2] > 128)
        run = line[: np.argmax(np.diff(line) > 1) + 1] if (np.diff(line) > 1).any() else line
        assert np.ptp(run) == pytest.approx(10 * PIXELS / side, abs=2)


def test_evidence_is_drawn_where_the_model_looked_and_nowhere_else(volume):
    seen = []

    def paint(picture):
        seen.append(picture.size)
        return Image.new("RGB", picture.size, (0, 255, 0))

    where = Evidence(paint=paint, side_mm=30.0, before_mm=15.0)
    pixels = np.asarray(draw_overlay(flat(volume, [0] * 8), finding(size=2.0), evidence=where))
    green = np.argwhere((pixels == (0, 255, 0)).all(-1))
    assert seen == [(PIXELS // 2, PIXELS // 2)]
    assert green.min(0).tolist() == [PIXELS // 4] * 2
    assert green.max(0).tolist() == [3 * PIXELS // 4 - 1] * 2
    nothing = Evidence(paint=lambda picture: None, side_mm=30.0, before_mm=15.0)
    assert draw_overlay(volume, finding(), evidence=nothing) == draw_overlay(volume, finding())


def test_a_repeat_makes_the_same_bytes_and_the_file_says_it_is_research(volume, tmp_path):
    write_picture(tmp_path / "a.png", draw_overlay(volume, finding()))
    write_picture(tmp_path / "b.png", draw_overlay(volume, finding()))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.info == {"Disclaimer": "Research software, not for clinical use."}
        assert np.array_equal(np.asarray(image), np.asarray(draw_overlay(volume, finding())))


def test_nothing_of_the_series_is_in_the_file(volume, tmp_path):
    marked = dataclasses.replace(volume, study_uid="MARKER", facts={"patient_sex": "MARKER"})
    write_picture(tmp_path / "a.png", draw_overlay(marked, finding()))
    write_picture(tmp_path / "b.png", draw_overlay(volume, finding()))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("place", [(8.0, 1.0, 1.0), (0.0, -1.0, 1.0), (0.0, 1.0, 16.0)])
def test_a_place_outside_the_volume_is_refused(volume, place):
    with refused("data/outside-volume"):
        draw_overlay(volume, finding(*place))
