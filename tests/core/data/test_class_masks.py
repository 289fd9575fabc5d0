"""Masks as class numbers: which modes keep their numbers, and what is refused by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from moekit.data.class_masks import read_classes
from moekit.data.images import read_image, read_size
from moekit.data.mask_table import IGNORED, MaskTable
from moekit.testing import refused

SIZE = (12, 20)
TABLE = MaskTable(values={0: 0, 1: 1, 2: 2, 3: IGNORED})
COLOURS = MaskTable(colours={(0, 0, 0): 0, (255, 0, 0): 1, (0, 0, 7): IGNORED})


@pytest.fixture
def numbers():
    """(12, 20) uint8 with the values 0 to 3, all of them."""
    return np.random.default_rng(0).integers(0, 4, SIZE).astype(np.uint8)


@pytest.fixture
def wanted(numbers):
    """The same with 3 ignored."""
    return np.where(numbers == 3, IGNORED, numbers.astype(np.int16))


def test_eight_bits_are_read_as_they_are(tmp_path, numbers, wanted):
    Image.fromarray(numbers).save(tmp_path / "m.png")
    found = read_classes(tmp_path / "m.png", SIZE, TABLE)
    assert found.dtype == np.int16
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_wider_types_are_read_as_they_are(tmp_path, numbers, wanted, dtype):
    Image.fromarray(numbers.astype(dtype)).save(tmp_path / "m.tif")
    assert np.array_equal(read_classes(tmp_path / "m.tif", SIZE, TABLE), wanted)


def test_sixteen_bits_reach_beyond_255(tmp_path):
    values = np.full(SIZE, 24001, dtype=np.uint16)
    values[0, 0] = 65535
    Image.fromarray(values).save(tmp_path / "m.png")
    found = read_classes(tmp_path / "m.png", SIZE, MaskTable(values={24001: 1, 65535: 0}))
    assert (found == 1).sum() == 239
    assert found[0, 0] == 0


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_palette_keeps_its_indices_whatever_the_colours(tmp_path, numbers, wanted, bits):
    image = Image.fromarray(numbers)
    image.putpalette([9, 9, 9, 200, 0, 0, 9, 9, 9, 0, 0, 77])
    image.save(tmp_path / "m.png", bits=bits)
    with Image.open(tmp_path / "m.png") as saved:
        assert saved.mode == "P"
    assert np.array_equal(read_classes(tmp_path / "m.png", SIZE, TABLE), wanted)


@pytest.mark.parametrize("bits", [2, 4])
def test_gray_of_two_and_four_bits_is_not_spread(tmp_path, numbers, wanted, bits):
    path = tmp_path / "m.png"
    path.write_bytes(gray_png(numbers, bits))
    with Image.open(path) as plain:
        assert np.asarray(plain).max() == 3 * {2: 85, 4: 17}[bits]
    assert np.array_equal(read_classes(path, SIZE, TABLE), wanted)


def gray_png(numbers, bits):
    """A gray PNG of few bits, which Pillow reads and does not write."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = numbers.shape
    rows = b""
    for row in numbers:
        expanded = (row[:, None] >> np.arange(bits - 1, -1, -1)) & 1
        rows += b"\0" + np.packbits(expanded.reshape(-1).astype(np.uint8)).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("white", [1, 255])
def test_one_bit_means_zero_and_the_listed_white(tmp_path, numbers, white):
    Image.fromarray(numbers > 1).save(tmp_path / "m.png")
    table = MaskTable(values={0: 0, white: 1})
    assert np.array_equal(read_classes(tmp_path / "m.png", SIZE, table), numbers > 1)


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_looked_up(tmp_path, numbers, alpha):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 7]], dtype=np.uint8)
    picture = colours[numbers % 3]
    if alpha:
        picture = np.concatenate([picture, np.full((*SIZE, 1), 9, np.uint8)], axis=2)
    Image.fromarray(picture).save(tmp_path / "m.png")
    found = read_classes(tmp_path / "m.png", SIZE, COLOURS)
    assert np.array_equal(found, np.array([0, 1, IGNORED])[numbers % 3])


def test_equal_channels_are_numbers_if_no_colour_is_listed(tmp_path, numbers, wanted):
    Image.fromarray(np.repeat(numbers[..., None], 3, axis=2)).save(tmp_path / "m.png")
    assert np.array_equal(read_classes(tmp_path / "m.png", SIZE, TABLE), wanted)


def test_without_a_table_all_but_zero_is_class_one(tmp_path, numbers):
    Image.fromarray(numbers * np.uint8(80)).save(tmp_path / "m.png")
    assert np.array_equal(read_classes(tmp_path / "m.png", SIZE), numbers > 0)
    red = np.zeros((*SIZE, 3), dtype=np.uint8)
    red[..., 0] = numbers
    Image.fromarray(red).save(tmp_path / "c.png")
    assert np.array_equal(read_classes(tmp_path / "c.png", SIZE), numbers > 0)


def test_others_take_a_class(tmp_path, numbers):
    Image.fromarray(numbers).save(tmp_path / "m.png")
    table = MaskTable(values={0: 0, 1: 1}, others=IGNORED)
    found = read_classes(tmp_path / "m.png", SIZE, table)
    assert np.array_equal(found, np.where(numbers > 1, IGNORED, numbers.astype(np.int16)))


def test_an_unlisted_number_is_named_with_its_pixels(tmp_path, numbers):
    numbers[numbers == 2] = 0
    numbers[3, 4:7] = 9
    Image.fromarray(numbers).save(tmp_path / "street.png")
    with refused("image/unknown-class", match=r"9 \(3 ") as caught:
        read_classes(tmp_path / "street.png", SIZE, TABLE)
    assert caught.value.whose.endswith("street.png")


def test_an_unlisted_colour_is_named_with_its_pixels(tmp_path):
    picture = np.zeros((*SIZE, 3), dtype=np.uint8)
    picture[2, :5] = (254, 0, 0)
    Image.fromarray(picture).save(tmp_path / "m.png")
    with refused("image/unknown-class", match=r"\(254, 0, 0\) \(5 "):
        read_classes(tmp_path / "m.png", SIZE, COLOURS)


def test_another_size_a_jpeg_and_fractions_are_refused(tmp_path, numbers):
    Image.fromarray(numbers).save(tmp_path / "m.png")
    with refused("image/mask-size", match="20 x 12.*12 x 20"):
        read_classes(tmp_path / "m.png", (20, 12), TABLE)
    Image.fromarray(numbers).save(tmp_path / "m.jpg")
    with refused("image/jpeg-mask"):
        read_classes(tmp_path / "m.jpg", SIZE, TABLE)
    Image.fromarray(numbers / np.float32(2)).save(tmp_path / "f.tif")
    with refused("image/mask-values"):
        read_classes(tmp_path / "f.tif", SIZE, TABLE)
    Image.fromarray(numbers).convert("CMYK").save(tmp_path / "c.tif")
    with refused("image/mask-values"):
        read_classes(tmp_path / "c.tif", SIZE, TABLE)


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_the_size_of_a_header_is_that_of_the_upright_image(tmp_path, picture, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    picture.save(tmp_path / "p.jpg", exif=exif)
    upright = read_image(tmp_path / "p.jpg")
    assert read_size(tmp_path / "p.jpg") == (upright.height, upright.width)
    assert (read_size(tmp_path / "p.jpg") == (64, 48)) == (turn > 4)


def test_the_size_of_no_image_is_refused_by_name(tmp_path):
    (tmp_path / "x.png").write_bytes(b"nothing")
    with refused("image/not-an-image"):
        read_size(tmp_path / "x.png")
