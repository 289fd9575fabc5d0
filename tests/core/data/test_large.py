"""A large picture needs the memory of its pixels and of one more copy at the most."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from moekit.data import pictures
from moekit.data.images import read_frames, read_mask, read_remarked
from moekit.data.pictures import bare, reduced
from moekit.testing import refused
from moekit.testing.child import child_environment

SIDE = 4000
MEASURE = """
import sys
from pathlib import Path
from moekit.data.images import read_remarked
from moekit.data.pictures import reduced

def mib(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

read_remarked(Path(sys.argv[2]), 1)
before = mib("VmRSS")
(image,), _ = read_remarked(Path(sys.argv[1]), 1)
assert reduced(image, 480).size == (480, 480)
print(mib("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is that of /proc")
@pytest.mark.parametrize(
    ("mode", "most"), [("RGB", 1.3), ("L", 1.6), ("RGBA", 2.4), ("I;16", 1.9), ("F", 2.5)]
)
def test_reading_a_large_picture_takes_the_memory_of_its_pixels(tmp_path, mode, most):
    small, large = tmp_path / "small.tif", tmp_path / "large.tif"
    for path, side in ((small, 8), (large, SIDE)):
        if mode == "RGBA":
            Image.new(mode, (side, side), (1, 2, 3, 99)).save(path, compression="packbits")
        else:
            Image.new(mode, (side, side)).save(path, compression="packbits")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(large), str(small)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < most * SIDE * SIDE * 4 / 2**20  # Pillow stores RGB in 4 bytes


@pytest.fixture(params=["L", "1", "P", "PA", "RGB", "CMYK", "LA", "RGBA", "YCbCr", "I", "F"])
def stored(request, tmp_path, picture):
    """A picture of each mode in a file without loss."""
    mode, path = request.param, tmp_path / "a.tiff"
    if mode in ("P", "PA", "LA"):
        path = tmp_path / "a.png"
    if mode in ("I", "F"):
        values = np.asarray(picture.convert("L"), dtype=np.int32) * 257
        if mode == "F":
            values = (values / 65535).astype(np.float32)
        Image.fromarray(values).save(path)
    elif mode == "PA":
        colours = picture.convert("P")
        colours.save(path, transparency=bytes(range(256)))
    elif mode in ("LA", "RGBA"):
        clear = picture.convert(mode)
        clear.putalpha(Image.linear_gradient("L").resize(picture.size))
        clear.save(path)
    else:
        picture.convert(mode).save(path)
    return path


def test_strips_change_no_pixel_and_no_remark(stored, monkeypatch):
    def read():
        (image,), remarks = read_remarked(stored, 1)
        return np.asarray(image), remarks

    whole, told = read()
    mask = read_mask(stored, whole.shape[:2])
    monkeypatch.setattr(pictures, "_STRIP", 3 * whole.shape[1] + 5)
    again, told_again = read()
    assert whole.shape == again.shape == (48, 64, 3)
    assert np.array_equal(whole, again)
    assert told == told_again
    assert np.array_equal(mask, read_mask(stored, whole.shape[:2]))


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_strips_of_sixteen_bits_in_either_order_of_bytes_are_the_same(tmp_path, monkeypatch, order):
    values = np.arange(60 * 40, dtype=order).reshape(60, 40) * 27
    Image.fromarray(values).save(tmp_path / "a.tif")
    whole = np.asarray(read_frames(tmp_path / "a.tif", 1)[0])
    monkeypatch.setattr(pictures, "_STRIP", 7 * 40)
    assert np.array_equal(whole, np.asarray(read_frames(tmp_path / "a.tif", 1)[0]))
    expected = (values.astype(np.int64) * 255 + 32767) // 65535
    assert np.array_equal(whole[..., 0], expected)


def test_a_value_out_of_range_is_found_in_any_strip(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_STRIP", 40)
    for bad in (-1.0, 300.0, float("nan")):
        values = np.zeros((50, 40), dtype=np.float32)
        values[33, 7] = bad
        Image.fromarray(values).save(tmp_path / "a.tif")
        with refused("image/no-scale", match="floating-point values"):
            read_frames(tmp_path / "a.tif", 1)


def test_pages_of_a_stack_keep_their_own_pixels(tmp_path):
    pages = [Image.new("RGB", (30, 20), (number, 2, 3)) for number in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = read_frames(tmp_path / "a.tif", 3)
    assert [page.getpixel((0, 0)) for page in found] == [(0, 2, 3), (1, 2, 3), (2, 2, 3)]


def test_a_reduced_picture_is_the_thumbnail_and_leaves_the_picture_as_it_is(picture):
    for size in ((64, 48), (300, 20), (20, 300), (481, 480), (480, 480)):
        large = picture.resize(size)
        large.info["comment"] = "private"
        expected = large.copy()
        expected.thumbnail((100, 100))
        small = reduced(large, 100)
        assert np.array_equal(np.asarray(small), np.asarray(expected))
        assert large.size == size
        small.putpixel((0, 0), (1, 2, 3))
        assert np.array_equal(np.asarray(large), np.asarray(picture.resize(size)))
        assert bare(large).info == {}
