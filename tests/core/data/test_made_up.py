"""Pictures of which a decoder would make a part up: cut behind a marker, zeros, wrong runs."""

from __future__ import annotations

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from moekit.data.images import read_frames, read_image
from moekit.data.jpeg_scans import FILLER, jpeg_with_other_end
from moekit.errors import ImageError
from moekit.testing import refused

SCAN, END = b"\xff\xda", b"\xff\xd9"
SIZE = (203, 157)


def noise(mode="RGB"):
    """A picture of soft noise, so that codes of all lengths come."""
    generator = np.random.default_rng(0)
    steps = generator.normal(0, 6, (SIZE[1], SIZE[0], 3))
    values = np.clip(np.cumsum(steps, 1) + 128, 0, 255).astype(np.uint8)
    return Image.fromarray(values).convert(mode)


def stored(kind, image=None, **options):
    written = io.BytesIO()
    (image or noise()).save(written, kind, **options)
    return written.getvalue()


def read(tmp_path, content, name="a"):
    (tmp_path / name).write_bytes(content)
    return read_image(tmp_path / name)


def cut(whole, share):
    """The file up to a share of its coded pixels, with the marker of the end behind it."""
    begin = whole.index(SCAN) + 20
    return whole[: begin + int(share * (len(whole) - begin - 2))].rstrip(b"\xff") + END


KINDS = {
    "colour": ("RGB", {}),
    "full colour": ("RGB", {"subsampling": 0, "quality": 100}),
    "half colour": ("RGB", {"subsampling": 1, "optimize": True}),
    "grey": ("L", {}),
    "four inks": ("CMYK", {}),
    "restarts": ("RGB", {"restart_marker_blocks": 7}),
    "restarts of rows": ("L", {"restart_marker_rows": 1}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_jpeg_that_is_cut_and_has_an_end_is_refused(tmp_path, kind, share):
    mode, options = KINDS[kind]
    whole = stored("JPEG", noise(mode), **options)
    assert read(tmp_path, whole).size == SIZE
    assert jpeg_with_other_end(whole).endswith(FILLER + END)
    with refused("image/damaged", match="before its last"):
        read(tmp_path, cut(whole, share))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_a_progressive_jpeg_that_is_cut_in_any_scan_is_refused(tmp_path, mode, share):
    """Its end is not grey: what is missing is sharpness."""
    whole = stored("JPEG", noise(mode), progressive=True)
    comment = b"\xff\xfe\x00\x04by"
    for tail in (b"", comment):
        with refused("image/damaged"):
            read(tmp_path, cut(whole, share)[:-2] + tail + END)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_progressive_jpeg_without_its_last_scans_is_refused(tmp_path, mode):
    whole = stored("JPEG", noise(mode), progressive=True)
    assert read(tmp_path, whole).size == SIZE
    last = whole.rindex(SCAN)
    before = whole.rindex(SCAN, 0, last)
    for end in (before, last):
        with refused("image/damaged", match="before its last"):
            read(tmp_path, whole[:end] + END)


def test_a_picture_that_is_grey_at_its_end_is_read(tmp_path):
    grey = noise()
    grey.paste((128, 128, 128), (0, 80, *SIZE))
    for options in ({}, {"restart_marker_blocks": 5}, {"progressive": True}):
        whole = stored("JPEG", grey, **options)
        assert read(tmp_path, whole).getpixel((SIZE[0] - 1, SIZE[1] - 1)) == (128, 128, 128)
    with refused("image/damaged"):
        read(tmp_path, cut(stored("JPEG", grey), 0.5))


def test_headers_that_cannot_be_followed_are_left_to_the_decoder():
    whole = stored("JPEG")
    for content in (b"", b"\xff\xd8", whole[:100], whole[:-2]):
        assert jpeg_with_other_end(content) == content
    header = whole.index(b"\xff\xc0")
    for place in range(header, header + 19):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        other = jpeg_with_other_end(bytes(changed))
        assert other is None or FILLER in other or other == changed


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_webp_whose_rest_is_zeros_is_refused(tmp_path, share):
    whole = stored("WEBP", quality=90)
    assert read(tmp_path, whole).size == SIZE
    kept = whole[: int(share * len(whole))]
    with refused("image/damaged", match="zeros"):
        read(tmp_path, kept + bytes(len(whole) - len(kept)))


def test_zeros_in_the_second_frame_of_a_webp_do_no_harm_to_the_first(tmp_path):
    frames = [noise(), noise().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    whole = stored("WEBP", frames[0], save_all=True, append_images=frames[1:], quality=90)
    second = whole.rindex(b"ANMF")
    assert read(tmp_path, whole[: second + 60] + bytes(len(whole) - second - 60)).size == SIZE
    first = whole.index(b"ANMF") + 60
    with refused("image/damaged", match="zeros"):
        read(tmp_path, whole[:first] + bytes(second - first) + whole[second:])


@pytest.mark.parametrize("options", [{"quality": 80}, {"quality": 10}, {"lossless": True}])
def test_a_webp_of_one_colour_is_read(tmp_path, options):
    """Its codes end with hundreds of zeros."""
    for side in (64, 2000):
        flat = Image.new("RGB", (side, side), (0, 0, 0))
        flat.putpixel((3, 3), (255, 255, 255))
        assert read(tmp_path, stored("WEBP", flat, **options)).size == (side, side)


def strip_of(whole):
    """Offset and length of the longest strip."""
    with Image.open(io.BytesIO(whole)) as image:
        tags = image.tag_v2
        return max(zip(tags[273], tags[279], strict=True), key=lambda one: one[1])


def flat_steps(mode="RGB"):
    """A picture with runs."""
    return noise("RGB").point(lambda value: value // 64 * 64).convert(mode)


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        *itertools.product(("RGB", "L", "1"), ("packbits", "tiff_lzw", "tiff_adobe_deflate")),
        *itertools.product(("RGB", "L"), ("jpeg",)),
    ],
)
def test_a_tiff_with_zeros_inside_is_refused(tmp_path, mode, compression):
    whole = stored("TIFF", flat_steps(mode), compression=compression)
    assert read(tmp_path, whole).size == SIZE
    offset, length = strip_of(whole)
    middle = offset + length // 2
    zeros = bytes(offset + length - middle)
    with refused("image/damaged"):
        read(tmp_path, whole[:middle] + zeros + whole[offset + length :])


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_with_zeros_inside_is_refused(tmp_path, compression):
    lines = Image.fromarray((np.random.default_rng(0).random((400, 300)) > 0.7) * np.uint8(255))
    whole = stored("TIFF", lines.convert("1"), compression=compression)
    assert read(tmp_path, whole).size == (300, 400)
    blank = stored("TIFF", Image.new("1", (300, 400)), compression=compression)
    assert read(tmp_path, blank).size == (300, 400)
    offset, length = strip_of(whole)
    middle = offset + length // 2
    with refused("image/damaged", match="no codes"):
        read(tmp_path, whole[:middle] + bytes(offset + length - middle) + whole[offset + length :])


def test_runs_that_go_beyond_their_strip_or_leave_a_rest_are_refused(tmp_path):
    whole = stored("TIFF", flat_steps("L"), compression="packbits")
    offset, length = strip_of(whole)
    coded = whole[offset : offset + length]
    longer = bytes([1]) + coded[1:] if coded[0] > 128 else bytes([0x81]) + coded[1:]
    with refused("image/damaged"):
        read(tmp_path, whole[:offset] + longer + whole[offset + length :])
    tail = bytearray(whole)
    tail[offset + length - 2] = 0x81  # the last run is longer than the strip
    with refused("image/damaged", match="runs"):
        read(tmp_path, bytes(tail))


def test_each_changed_bit_of_a_deflated_tiff_is_found(tmp_path):
    whole = stored("TIFF", flat_steps(), compression="tiff_adobe_deflate")
    offset, length = strip_of(whole)
    generator = np.random.default_rng(0)
    for _ in range(40):
        changed = bytearray(whole)
        changed[offset + int(generator.integers(length))] ^= 1 << int(generator.integers(8))
        with pytest.raises(ImageError) as caught:
            read(tmp_path, bytes(changed))
        assert caught.value.code == "image/damaged"


def tiled(values_HW, side=64):
    """A TIFF of one band in tiles, each coded as literal runs (TIFF 6.0, sections 9 and 15)."""
    height, width = values_HW.shape
    padded = np.pad(values_HW, ((0, -height % side), (0, -width % side)))
    tiles = [
        padded[top : top + side, left : left + side].tobytes()
        for top in range(0, padded.shape[0], side)
        for left in range(0, padded.shape[1], side)
    ]
    coded = [
        b"".join(b"\x7f" + one[at : at + 128] for at in range(0, len(one), 128)) for one in tiles
    ]
    count, begin = len(coded), 8 + 2 + 12 * 10 + 4
    data = begin + 8 * count
    offsets = [data + sum(map(len, coded[:number])) for number in range(count)]
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 8), (259, 3, 1, 32773)),
        *((262, 3, 1, 1), (277, 3, 1, 1), (322, 3, 1, side), (323, 3, 1, side)),
        *((324, 4, count, begin), (325, 4, count, begin + 4 * count)),
    ]
    header = struct.pack("<2sHLH", b"II", 42, 8, len(entries))
    table = b"".join(struct.pack("<HHLL", *one) for one in entries) + bytes(4)
    places = struct.pack(f"<{2 * count}L", *offsets, *map(len, coded))
    return header + table + places + b"".join(coded), offsets


def test_tiles_are_looked_at_one_by_one(tmp_path):
    values = np.asarray(noise("L"))
    whole, offsets = tiled(values)
    assert np.array_equal(np.asarray(read(tmp_path, whole))[..., 0], values)
    changed = bytearray(whole)
    changed[offsets[6] - 129] = 0xFF  # the last run of a tile
    with refused("image/damaged"):
        read(tmp_path, bytes(changed))
    changed = bytearray(whole)
    changed[offsets[5]] = 0xA0  # a longer run, so that the last one goes beyond the tile
    with refused("image/damaged"):
        read(tmp_path, bytes(changed))


def test_pages_are_looked_at_one_by_one(tmp_path):
    pages = [flat_steps("L"), flat_steps("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    whole = stored("TIFF", pages[0], save_all=True, append_images=pages[1:], compression="packbits")
    path = tmp_path / "a.tif"
    path.write_bytes(whole)
    assert len(read_frames(path, 2)) == 2
    with Image.open(path) as image:
        image.seek(1)
        offset, length = image.tag_v2[273][0], image.tag_v2[279][0]
    changed = bytearray(whole)
    changed[offset + length - 2] = 0x81
    path.write_bytes(changed)
    with refused("image/damaged", match="runs"):
        read_frames(path, 2)


def netpbm(kind, values, most):
    height, width = values.shape[:2]
    return f"{kind}\n# noted 7 8\n{width} {height}\n{most}\n".encode() + values.tobytes()


@pytest.mark.parametrize(
    ("kind", "most", "dtype"),
    [("P5", 100, "u1"), ("P6", 100, "u1"), ("P5", 4095, ">u2"), ("P5", 256, ">u2")],
)
def test_numbers_beyond_the_stated_maximum_are_refused(tmp_path, kind, most, dtype):
    """The decoder would cut them off."""
    shape = (8, 9, 3) if kind == "P6" else (8, 9)
    values = np.full(shape, most, dtype=dtype)
    values.flat[:8] = np.arange(8)
    assert read(tmp_path, netpbm(kind, values, most)).size == (9, 8)
    values.flat[40] = most + 1
    with refused("image/damaged", match=f"{most + 1}.*{most}"):
        read(tmp_path, netpbm(kind, values, most))


def test_a_lossless_webp_with_large_flat_areas_is_read(tmp_path):
    flat = Image.new("RGB", (500, 500))
    flat.paste((1, 2, 3), (0, 0, 7, 7))
    for method in (0, 4):
        whole = stored("WEBP", flat, lossless=True, quality=75, method=method)
        assert read(tmp_path, whole).getpixel((3, 3)) == (1, 2, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_bytes_that_fill_up_to_a_marker_are_no_damage(tmp_path, options):
    """ITU-T T.81, B.1.1.2: any number of FF may come before a marker."""
    for image in (Image.new("L", (64, 64), 128), noise("L")):
        whole = stored("JPEG", image, **options)
        filled = whole[:-2] + b"\xff\xff" + whole[-2:]
        assert read(tmp_path, filled).tobytes() == read(tmp_path, whole).tobytes()
        with refused("image/damaged"):
            read(tmp_path, cut(stored("JPEG", noise("L"), **options), 0.5)[:-2] + b"\xff" + END)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4"])
def test_numbers_of_big_endian_tiff_files_are_what_was_written(tmp_path, dtype, compression):
    tifffile = pytest.importorskip("tifffile", reason="comes with the industrial kit")
    most = 30_000 if dtype in ("u2", "i2", "i4") else 255
    values = np.random.default_rng(0).integers(0, most, (20, 30)).astype(dtype)
    found = []
    for order in "<>":
        path = tmp_path / f"{ord(order)}.tif"
        tifffile.imwrite(path, values, byteorder=order, compression=compression, metadata=None)
        found.append(np.asarray(read_image(path)))
    assert np.array_equal(*found)
    assert found[0].std() > 10


def test_numbers_behind_the_pixels_of_a_pgm_do_no_harm(tmp_path):
    values = np.full((8, 9), 90, dtype="u1")
    assert read(tmp_path, netpbm("P5", values, 100) + b"\xff" * 50).size == (9, 8)
