"""Sizes come from headers and are those of the upright pictures."""

import numpy as np
import pytest
from PIL import Image

from moekit.data.images import read_image
from moekit.data.samples import Sample
from moekit.data.sizes import header_size, typical_size


def saved(folder, number, size, suffix=".png", **options):
    path = folder / f"{number}{suffix}"
    Image.fromarray(np.full((*size, 3), 7, dtype=np.uint8)).save(path, **options)
    return Sample(id=path.name, path=path, label=0)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".webp", ".png"])
def test_a_header_tells_the_size_that_reading_gives(tmp_path, suffix, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path, turn, (20, 30), suffix, exif=exif).path
    picture = read_image(path)
    assert header_size(path) == (picture.height, picture.width)


def test_the_typical_size_has_the_median_aspect_ratio(tmp_path):
    sizes = [(10, 40), (40, 10), (20, 30), (100, 150), (60, 60)]
    samples = [saved(tmp_path, number, size) for number, size in enumerate(sizes)]
    height, width = typical_size(samples)
    assert height / width == 2 / 3
    assert typical_size(samples) == typical_size(samples[::-1])


def test_of_two_pictures_it_is_the_wider_one(tmp_path):
    samples = [saved(tmp_path, 0, (40, 10)), saved(tmp_path, 1, (10, 40))]
    assert typical_size(samples) == (10, 40)


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    samples = [saved(tmp_path, number, (20, 30)) for number in range(3)]
    samples[0].path.write_bytes(b"no image")
    samples[1].path.unlink()
    assert typical_size(samples) == (20, 30)
    samples[2].path.write_bytes(b"")
    assert typical_size(samples) is None
    assert typical_size([]) is None


def test_no_pixel_is_needed(tmp_path):
    sample = saved(tmp_path, 0, (400, 600))
    whole = sample.path.read_bytes()
    sample.path.write_bytes(whole[: len(whole) // 2])
    assert typical_size([sample]) == (400, 600)


def test_of_many_files_some_at_equal_distances_are_opened(tmp_path, monkeypatch):
    sample = saved(tmp_path, 0, (20, 30))
    opened = []
    monkeypatch.setattr(
        "moekit.data.sizes.header_size", lambda path: opened.append(path) or (20, 30)
    )
    assert typical_size([sample] * 1000, most=50) == (20, 30)
    assert len(opened) == 50
