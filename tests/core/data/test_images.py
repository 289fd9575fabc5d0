"""Any file is either an RGB image or an error that names it."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from moekit import ImageError
from moekit.data.geometry import Frame
from moekit.data.images import find_images, read_image
from moekit.data.tensors import image_tensor
from moekit.testing import refused

FORMATS = ["png", "jpg", "bmp", "tiff", "webp", "ppm"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_is_read(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    picture.save(path)
    image = read_image(path)
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image, float) - np.asarray(picture, float)).mean() < 12


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "YCbCr"])
def test_each_mode_becomes_rgb(tmp_path, picture, mode):
    path = tmp_path / "a.tiff"
    if mode in ("P", "LA"):
        path = tmp_path / "a.png"
    picture.convert(mode).save(path)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", picture.size)


def test_sixteen_bits_keep_their_scale(tmp_path):
    values = np.array([[0, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 128, 255]


def test_a_name_that_lies_about_the_format_is_read(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.jpg")), np.asarray(picture))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "bmp"])
def test_a_file_cut_off_anywhere_is_refused_by_name(tmp_path, picture, suffix):
    whole = tmp_path / f"whole.{suffix}"
    picture.save(whole)
    data = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for share in (0.02, 0.1, 0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ImageError, match=rf"cut\.{suffix}"):
            read_image(path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("tail", [1, 40])
def test_a_jpeg_of_which_the_last_part_is_zeros_is_refused(tmp_path, picture, progressive, tail):
    path = tmp_path / "a.jpg"
    picture.save(path, progressive=progressive, quality=90)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))  # what follows the end does no harm
    assert read_image(path).size == picture.size
    half = len(whole) // 2
    path.write_bytes(whole[:half] + bytes(half * tail))
    with refused("image/damaged", match=r"a\.jpg"):
        read_image(path)


def test_flipped_bytes_never_raise_anything_but_an_image_error(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        damaged[int(generator.integers(8, len(data)))] ^= 0xFF
        path = tmp_path / "damaged.png"
        path.write_bytes(damaged)
        try:
            read_image(path)
        except ImageError:
            refused += 1
    assert refused > 50


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with refused("image/too-large"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "image/empty"), (b"hello, world" * 9, "image/not-an-image")]
)
def test_what_is_no_image_is_told_apart(tmp_path, content, code):
    (tmp_path / "a.png").write_bytes(content)
    with refused(code):
        read_image(tmp_path / "a.png")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with refused("image/not-found"):
        read_image(tmp_path / "none.png")
    with refused("image/not-a-file"):
        read_image(tmp_path)


def test_images_are_found_in_an_order_of_their_own(tmp_path, picture):
    for name in ("b/2.PNG", "a.jpg", "b/1.png", ".hidden/x.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a.jpg", "b/1.png", "b/2.PNG"]


def test_a_tensor_is_normalised_and_square(picture):
    frame = Frame(height=28, width=28)
    x = image_tensor(picture, frame=frame, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert tuple(x.shape) == (3, 28, 28)
    expected = np.asarray(picture, float).mean() / 255 * 2 - 1
    assert x.mean().item() == pytest.approx(expected, abs=0.01)
