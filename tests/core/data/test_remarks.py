"""What is guessed when a file becomes RGB is told: by file, and in sentences on all of them."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from moekit.data.images import read_frames, read_image, read_mask, read_remarked, read_size
from moekit.data.remarks import RemarkTally
from moekit.data.samples import Sample
from moekit.data.scan import remarks_on
from moekit.data.sizes import header_size
from moekit.testing import refused

GREY = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
CLEAR = Image.fromarray(np.dstack([COLOUR, GREY]), "RGBA")


def kinds(path):
    return {remark.kind: remark.value for remark in read_remarked(path, 1)[1]}


def sentences(*paths):
    tally = RemarkTally()
    for path in paths:
        tally.add(path.name, read_remarked(path, 1)[1])
    return tally.sentences()


def png_of_16_bits(path, values, colour):
    """Pillow writes no colours of 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        check = zlib.crc32(kind + body)
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    path.write_bytes(content)
    return path


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def save(path, image, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png", "mpo"])
def test_the_first_of_several_frames_is_read_and_that_is_told(tmp_path, suffix):
    frames = [Image.fromarray(np.roll(COLOUR, 3 * number, 0)) for number in range(3)]
    path = save(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    assert "frames" in kinds(path)
    found = np.asarray(read_image(path), float)
    assert np.abs(found - COLOUR).mean() < np.abs(found - np.asarray(frames[1], float)).mean()
    assert "frames" not in kinds(save(tmp_path / f"one.{suffix}", frames[0]))


def test_a_gif_of_one_frame_is_read_as_its_colours(tmp_path):
    flat = np.repeat(np.repeat(COLOUR[:4, :8], 6, 0), 4, 1)
    path = save(tmp_path / "a.gif", flat)
    assert np.array_equal(np.asarray(read_image(path)), flat)
    assert kinds(path) == {}


def test_a_gif_that_is_cut_off_is_refused_by_name(tmp_path):
    whole = save(tmp_path / "a.gif", COLOUR).read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "cut.gif").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(Exception, match=r"cut\.gif"):
            read_image(tmp_path / "cut.gif")


@pytest.mark.parametrize(
    ("make", "share"),
    [
        (lambda path: save(path / "a.png", GREY.astype(np.uint16) * 16), 4080 / 65535),
        (lambda path: save(path / "a.tif", GREY.astype(np.uint16)), 255 / 65535),
        (lambda path: save(path / "a.tif", GREY.astype(np.int32)), 255 / 65535),
        (lambda path: png_of_16_bits(path / "a.png", COLOUR.astype(int) * 16, 2), 1 / 16),
    ],
)
def test_few_bits_in_many_are_told_with_the_levels_that_are_left(tmp_path, make, share):
    path = make(tmp_path)
    (kind,) = {"range", "deep"} & set(kinds(path))
    assert kinds(path)[kind] == pytest.approx(share, rel=0.03)
    levels = len(np.unique(np.asarray(read_image(path))[..., 0]))
    assert levels <= 17
    told = " ".join(sentences(path))
    assert f"about {max(1, round(256 * share))} of 256 grey levels" in told
    assert path.name in told


def test_numbers_that_fill_their_range_need_no_word(tmp_path):
    path = save(tmp_path / "a.png", GREY.astype(np.uint16) * 257)
    assert "range" in kinds(path)
    assert sentences(path) == ()


def test_one_dark_picture_in_a_full_set_is_told_as_such(tmp_path):
    full = save(tmp_path / "full.png", GREY.astype(np.uint16) * 257)
    dark = save(tmp_path / "dark.png", GREY.astype(np.uint16) * 16)
    (told,) = sentences(full, dark)
    assert told.startswith("1 of 2 pictures")
    assert "dark.png" in told


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("a.tif", lambda: Image.fromarray((GREY / 255).astype(np.float32)), {"fractions"}),
        ("a.tif", lambda: Image.fromarray(GREY.astype(np.float32)), {"bytes"}),
        ("a.tif", lambda: Image.fromarray(GREY.astype(np.int32) * 257), {"integers", "range"}),
        ("a.jpg", lambda: Image.fromarray(COLOUR).convert("CMYK"), {"ink"}),
        ("a.tif", lambda: Image.fromarray(COLOUR).convert("LAB"), {"ink"}),
        ("a.png", lambda: CLEAR, {"clear"}),
        ("a.png", lambda: CLEAR.convert("P"), {"clear"}),
        ("a.png", lambda: Image.fromarray(COLOUR).convert("RGBA"), set()),
        ("a.png", lambda: Image.fromarray(COLOUR), set()),
        ("a.jpg", lambda: Image.fromarray(GREY), set()),
    ],
)
def test_each_guess_has_its_word(tmp_path, name, make, expected):
    path = save(tmp_path / name, make())
    assert set(kinds(path)) == expected
    told = sentences(path)
    assert len(told) == len(expected - {"range"})
    assert all(name in sentence for sentence in told)
    sample = Sample(id=name, path=path, label=0)
    assert remarks_on([sample]) == told


def test_bands_that_are_no_colours_are_told(tmp_path):
    four = np.dstack([COLOUR, COLOUR[..., :1]])
    path = save(tmp_path / "a.tif", four)
    content = path.read_bytes()
    told_alpha, told_unknown = (struct.pack("<HHIHH", 338, 3, 1, kind, 0) for kind in (2, 0))
    assert told_alpha in content
    path.write_bytes(content.replace(told_alpha, told_unknown))
    assert set(kinds(path)) == {"bands"}
    assert (np.asarray(read_image(path)) == COLOUR).all()
    (told,) = remarks_on([Sample(id="a.tif", path=path, label=0)])
    assert "more bands than colours" in told


def test_signed_numbers_of_8_bits_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", GREY, tiffinfo={339: 2})
    with refused("image/no-scale", match="signed integers of 8 bits"):
        read_image(path)


def test_floats_of_which_zero_is_white_are_turned_over(tmp_path):
    path = save(tmp_path / "a.tif", (GREY / 255).astype(np.float32), tiffinfo={262: 0})
    assert (np.asarray(read_image(path))[..., 0] == 255 - GREY).all()


def test_signed_numbers_of_16_bits_are_told(tmp_path):
    path = save(tmp_path / "a.tif", GREY.astype(np.uint16) * 100, tiffinfo={339: 2})
    assert {"integers", "range"} == set(kinds(path))


def test_floats_of_both_scales_in_one_set_are_warned_of(tmp_path):
    paths = [
        save(tmp_path / "a.tif", (GREY / 255).astype(np.float32)),
        save(tmp_path / "b.tif", GREY.astype(np.float32)),
    ]
    assert any("both scales" in sentence for sentence in sentences(*paths))


def test_the_look_at_a_set_passes_over_what_cannot_be_read(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    dark = save(tmp_path / "dark.png", GREY.astype(np.uint16))
    paths = (tmp_path / "broken.png", tmp_path / "none.png", dark)
    (told,) = remarks_on([Sample(id=path.name, path=path, label=0) for path in paths])
    assert "dark.png" in told


def test_the_case_of_few_bits_is_told_with_each_kind_of_file(shared):
    folder = shared / "cases/field/05-16bit-container/bits"
    if not folder.is_dir():
        pytest.skip("the cases are not there")
    paths = sorted(path for path in folder.iterdir() if "reference" not in path.name)
    told = sentences(*paths)
    assert any("5.9% of full scale" in sentence for sentence in told)
    assert sentences(folder / "reference_8bit.png") == ()
    reference = np.asarray(read_image(folder / "reference_8bit.png")).astype(int)
    for bits, name in ((12, "12bit_in_16.png"), (8, "8bit_in_16.png"), (8, "8bit_in_int32.tif")):
        assert f"--bits {bits} " in " ".join(sentences(folder / name))
        (read,) = read_frames(folder / name, 1, bits=bits)
        assert np.abs(np.asarray(read) - reference).max() <= 1


def test_numbers_of_stated_bits_are_scaled_by_them_and_that_is_told(tmp_path):
    dark = save(tmp_path / "dark.png", GREY.astype(np.uint16) * 16)
    (told,) = sentences(dark)
    assert "hold numbers of 12 bits, adapt with --bits 12 " in told
    (image,), remarks = read_remarked(dark, 1, bits=12)
    assert np.abs(np.asarray(image)[..., 0].astype(int) - GREY).max() <= 1
    tally = RemarkTally()
    tally.add("dark.png", remarks)
    (told,) = tally.sentences()
    assert "1 picture of more than 8 bits is read as numbers of 12 bits" in told
    eight = save(tmp_path / "eight.png", GREY)
    assert np.array_equal(np.asarray(read_frames(eight, 1, bits=12)[0])[..., 0], GREY)


def test_a_number_of_more_bits_than_stated_is_refused_with_the_option_that_does(tmp_path):
    path = save(tmp_path / "a.png", GREY.astype(np.uint16) * 200)
    with refused("image/over-bits", match="at most 4095") as caught:
        read_frames(path, 1, bits=12)
    assert "--bits 16" in caught.value.fix
    deep = png_of_16_bits(tmp_path / "deep.png", COLOUR.astype(int) * 16, 2)
    with refused("image/deep-colours"):
        read_frames(deep, 1, bits=12)


def test_a_file_that_says_its_own_bits_goes_by_them(tmp_path):
    rows = (GREY.astype(np.uint16) * 16).astype(">u2").tobytes()
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 32 24 4080\n" + rows)
    (image,) = read_frames(path, 1, bits=12)
    assert np.abs(np.asarray(image)[..., 0].astype(int) - GREY).max() <= 1
    assert "bits" not in {remark.kind for remark in read_remarked(path, 1, bits=12)[1]}


def test_a_command_without_the_option_does_not_advise_it(tmp_path):
    tally = RemarkTally(option="")
    path = save(tmp_path / "dark.png", GREY.astype(np.uint16) * 16)
    tally.add("dark.png", read_remarked(path, 1)[1])
    assert "--bits" not in " ".join(tally.sentences())


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp", "png"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_picture_that_its_exif_block_turns_is_told(tmp_path, suffix, orientation):
    path = save(tmp_path / f"a.{suffix}", COLOUR, exif=exif(orientation))
    assert set(kinds(path)) == {"turned"}
    (told,) = sentences(path)
    assert told.startswith("1 picture turned or mirrored as the EXIF orientation says")
    assert remarks_on([Sample(id=path.name, path=path, label=0)]) == (told,)
    size = (32, 24) if orientation == 6 else (24, 32)
    assert (read_size(path), header_size(path)) == (size, size)
    assert np.asarray(read_image(path)).shape[:2] == size


def test_masks_are_turned_by_their_own_exif_block_only(tmp_path):
    photo = save(tmp_path / "a.jpg", COLOUR, exif=exif(6))
    drawn = (np.arange(24 * 32).reshape(24, 32) < 100).astype(np.uint8)
    size = read_size(photo)
    upright = save(tmp_path / "upright.png", np.rot90(drawn, -1).copy())
    turned = save(tmp_path / "turned.png", drawn, exif=exif(6))
    assert np.array_equal(read_mask(upright, size), np.rot90(drawn, -1) > 0)
    assert np.array_equal(read_mask(turned, size), np.rot90(drawn, -1) > 0)
    stored = save(tmp_path / "stored.png", drawn)
    with refused("image/mask-size", match="rows and columns are exchanged") as caught:
        read_mask(stored, size)
    assert "EXIF" in caught.value.fix
