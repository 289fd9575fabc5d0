"""Masks: what is positive, and which files are refused by name."""

import numpy as np
import pytest
from PIL import Image

from moekit import DataError
from moekit.data.class_masks import read_classes
from moekit.data.images import read_mask
from moekit.testing import refused

SHAPE = (48, 64)


@pytest.fixture
def drawn():
    """(48, 64) bool with a rectangle and one pixel."""
    positive = np.zeros(SHAPE, dtype=bool)
    positive[10:20, 30:50] = True
    positive[47, 0] = True
    return positive


def save(path, values, mode=None):
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.mark.parametrize("value", [1, 7, 255])
def test_each_value_but_zero_is_positive(tmp_path, drawn, value):
    path = save(tmp_path / "m.png", drawn.astype(np.uint8) * np.uint8(value))
    found = read_mask(path, SHAPE)
    assert found.dtype == bool
    assert np.array_equal(found, drawn)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_modes_and_formats_say_the_same(tmp_path, drawn, mode, suffix):
    path = save(tmp_path / f"m.{suffix}", drawn.astype(np.uint8) * 255, mode)
    assert np.array_equal(read_mask(path, SHAPE), drawn)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_small_values_of_large_types_are_not_lost(tmp_path, drawn, dtype):
    path = save(tmp_path / "m.tif", drawn.astype(dtype))
    assert np.array_equal(read_mask(path, SHAPE), drawn)


def test_a_mask_of_another_size_is_refused_by_name_with_both_sizes(tmp_path, drawn):
    path = save(tmp_path / "scratch_mask.png", drawn.astype(np.uint8))
    with refused("image/mask-size", match="64 x 48.*65 x 48") as caught:
        read_mask(path, (48, 65))
    assert caught.value.whose.endswith("scratch_mask.png")
    with refused("image/mask-size", match="48 x 64"):
        read_mask(path, (64, 48))


def test_a_mask_is_scaled_along_with_its_image_by_nearest_neighbour(tmp_path, drawn):
    path = save(tmp_path / "m.png", drawn.astype(np.uint8))
    half = read_mask(path, SHAPE, resized_hw=(24, 32))
    assert half.shape == (24, 32)
    assert np.array_equal(half[5:10, 15:25], np.ones((5, 10), dtype=bool))
    assert half.sum() in (50, 51)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + b"x" * 40])
def test_a_mask_that_is_no_image_is_refused_by_name(tmp_path, content):
    path = tmp_path / "broken_mask.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken_mask\.png"):
        read_mask(path, SHAPE)


def test_a_truncated_mask_and_a_jpeg_are_refused(tmp_path, drawn):
    path = save(tmp_path / "m.png", drawn.astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-20])
    with refused("image/damaged"):
        read_mask(path, SHAPE)
    with refused("image/jpeg-mask"):
        read_mask(save(tmp_path / "m.jpg", drawn.astype(np.uint8) * 255), SHAPE)


@pytest.mark.parametrize(
    ("name", "options", "is_lossy"),
    [
        ("m.webp", {"quality": 80}, True),
        ("m.webp", {"quality": 80, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}, True),
        ("m.webp", {"lossless": True}, False),
        ("m.tif", {"compression": "jpeg"}, True),
        ("m.tif", {"compression": "tiff_lzw"}, False),
        ("m.tif", {"compression": "tiff_deflate"}, False),
    ],
)
@pytest.mark.parametrize("read", [read_mask, read_classes])
def test_masks_compressed_with_loss_are_refused_by_both_readers(
    tmp_path, drawn, name, options, is_lossy, read
):
    path = tmp_path / name
    Image.fromarray(drawn.astype(np.uint8) * 255).convert("RGB").save(path, **options)
    if is_lossy:
        with refused("image/lossy-mask"):
            read(path, SHAPE)
    else:
        assert np.array_equal(read(path, SHAPE) > 0, drawn)


@pytest.mark.parametrize("read", [read_mask, read_classes])
def test_the_noise_of_a_jpeg_saved_again_is_refused_and_smooth_edges_are_not(tmp_path, drawn, read):
    first = save(tmp_path / "m.jpg", drawn.astype(np.uint8) * 255)
    with Image.open(first) as image:
        image.save(tmp_path / "again.png")
    with refused("image/lossy-mask", match="near black or near white"):
        read(tmp_path / "again.png", SHAPE)
    smooth = Image.fromarray(drawn.astype(np.uint8) * 255).resize((256, 192)).resize((64, 48))
    smooth.save(tmp_path / "smooth.png")
    assert read(tmp_path / "smooth.png", SHAPE)[drawn].all()
    numbers = (np.arange(48 * 64) % 256).astype(np.uint8).reshape(SHAPE)
    assert np.array_equal(read(save(tmp_path / "n.png", numbers), SHAPE) > 0, numbers > 0)


ORIENTATION = 0x0112
FORMATS = {"png": {}, "tif": {}, "webp": {"lossless": True}}


def turned(path, values, number, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = number
    Image.fromarray(values).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("number", [2, 3, 6])
def test_a_mask_that_is_turned_otherwise_than_its_image_is_refused(tmp_path, drawn, suffix, number):
    """Its size may say nothing: that of a mirrored one is the same."""
    values = drawn.astype(np.uint8)
    mask = turned(tmp_path / f"m.{suffix}", values, number, **FORMATS[suffix])
    upright = save(tmp_path / "upright.png", values)
    size = SHAPE[::-1] if number == 6 else SHAPE
    for image in (upright, turned(tmp_path / "other.jpg", values, 8)):
        with refused("image/mask-turn", match=rf"m\.{suffix}"):
            read_mask(mask, size, image=image)
        with refused("image/mask-turn"):
            read_classes(mask, size, image=image)
    own = turned(tmp_path / "own.jpg", values, number)
    assert read_mask(mask, size, image=own).sum() == drawn.sum()
    assert read_classes(mask, size, image=own).sum() == drawn.sum()


def test_a_mask_without_an_orientation_asks_nothing_of_its_image(tmp_path, drawn):
    values = drawn.astype(np.uint8)
    path = turned(tmp_path / "m.png", values, 1)
    for mask in (path, save(tmp_path / "plain.png", values)):
        assert np.array_equal(read_mask(mask, SHAPE, image=tmp_path / "gone.jpg"), drawn)
    with refused("image/not-found"):
        read_mask(turned(path, values, 3), SHAPE, image=tmp_path / "gone.jpg")
