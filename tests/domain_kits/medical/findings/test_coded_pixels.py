"""Run lengths, JPEG 2000 tiles and JP2 files: what is next to their pixels is in no copy."""

from __future__ import annotations

import io
import struct

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, RLELossless

from moekit_medical.findings.codestreams import without_texts
from moekit_medical.findings.deidentify import deidentify_followed

NAME = b"DOE^JANE 1941 "
PIXELS_HW = np.random.default_rng(0).integers(0, 4000, (40, 56), dtype=np.uint16) // 900 * 900
GREY_HW = (PIXELS_HW // 16).astype(np.uint8)
TILE, COMMENT, DATA = b"\xff\x90", b"\xff\x64", b"\xff\x93"
SALT = b"salt of the tests"


def image_of(syntax, data, *, bits=16):
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    image.SOPInstanceUID = "1.2.3"
    image.Rows, image.Columns = PIXELS_HW.shape
    image.BitsAllocated = image.BitsStored = bits
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = bits - 1, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = data
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = syntax.is_encapsulated
    return image


def run_lengths():
    """An image of 16 bits, compressed by pydicom, and its frame."""
    image = image_of(pydicom.uid.ExplicitVRLittleEndian, PIXELS_HW.tobytes())
    written = io.BytesIO()
    image.save_as(written, enforce_file_format=True)
    written.seek(0)
    image = pydicom.dcmread(written)
    image.compress(RLELossless)
    (frame,) = generate_frames(image.PixelData, number_of_frames=1)
    return frame


def with_table(frame, change):
    table = list(struct.unpack("<16L", frame[:64]))
    change(table)
    return struct.pack("<16L", *table) + frame[64:]


def after_the_last_segment(frame):
    return frame + NAME


def between_the_segments(frame):
    second = struct.unpack("<L", frame[8:12])[0]

    def change(table):
        table[2] += len(NAME)

    return with_table(frame[:second] + NAME + frame[second:], change)


def in_the_table(frame):
    return frame[:12] + NAME + frame[12 + len(NAME) :]


def copied(image):
    """The copy as it is read from its file, whether it was followed, and all its bytes."""
    copy, is_followed = deidentify_followed(image, salt=SALT)
    written = io.BytesIO()
    copy.save_as(written, enforce_file_format=True)
    written.seek(0)
    return pydicom.dcmread(written), is_followed, written.getvalue()


@pytest.mark.parametrize("place", [after_the_last_segment, between_the_segments, in_the_table])
def test_bytes_next_to_run_lengths_are_in_no_copy(place):
    frame = run_lengths()
    marked = place(frame)
    assert NAME in marked
    copy, is_followed, written = copied(image_of(RLELossless, encapsulate([marked])))
    assert is_followed
    assert NAME not in written
    assert np.array_equal(copy.pixel_array, PIXELS_HW)
    assert list(generate_frames(copy.PixelData, number_of_frames=1)) == [frame]


def test_run_lengths_of_pixels_only_stay_as_they_are():
    image = image_of(RLELossless, encapsulate([run_lengths()]))
    copy, is_followed, _ = copied(image)
    assert is_followed
    assert copy.PixelData == image.PixelData


def cut_within_a_segment(frame):
    return frame[: len(frame) // 2]


def of_one_segment(frame):
    def change(table):
        table[0] = 1

    return with_table(frame, change)


@pytest.mark.parametrize("damage", [cut_within_a_segment, of_one_segment, lambda _: b""])
def test_run_lengths_that_cannot_be_followed_are_told(damage):
    frame = damage(run_lengths())
    _, is_followed, _ = copied(image_of(RLELossless, encapsulate([frame or bytes(2)])))
    assert not is_followed


def test_a_film_and_fragments_without_frames_are_told():
    film = image_of(MPEG2MPML, encapsulate([b"\0\0\1\xb3" + NAME]), bits=8)
    assert not copied(film)[1]
    several = image_of(RLELossless, encapsulate([run_lengths(), NAME, NAME], has_bot=False))
    several.NumberOfFrames = 2
    assert not copied(several)[1]


def test_a_table_of_offsets_that_is_a_text_is_in_no_copy():
    data = encapsulate([run_lengths()], has_bot=False)
    table = NAME[:12]
    marked = data[:4] + struct.pack("<L", len(table)) + table + data[8:]
    copy, is_followed, written = copied(image_of(RLELossless, marked))
    assert is_followed
    assert table not in written
    assert np.array_equal(copy.pixel_array, PIXELS_HW)


def comment():
    return COMMENT + struct.pack(">2H", len(NAME) + 4, 1) + NAME


def with_comments_in_tiles(stream):
    """A codestream with a comment in the header of each tile-part."""
    at, parts = stream.index(TILE), []
    head = stream[:at]
    while stream[at : at + 2] == TILE:
        length = struct.unpack(">L", stream[at + 6 : at + 10])[0]
        after = at + length if length else stream.rindex(b"\xff\xd9")
        data = stream.index(DATA, at)
        longer = struct.pack(">L", length + len(comment()) if length else 0)
        parts.append(stream[at : at + 6] + longer + stream[at + 10 : data] + comment())
        parts.append(stream[data:after])
        at = after
    assert len(parts) > 2
    return head + b"".join(parts) + stream[at:]


def pillow(**options):
    written = io.BytesIO()
    Image.fromarray(GREY_HW).save(written, "JPEG2000", tile_size=(32, 32), **options)
    return written.getvalue()


def shown(stream):
    return np.asarray(Image.open(io.BytesIO(stream)))


@pytest.mark.parametrize("options", [{}, {"plt": True}])
def test_comments_of_tile_parts_are_in_no_copy(options):
    plain = pillow(no_jp2=True, **options)
    marked = with_comments_in_tiles(plain)
    assert np.array_equal(shown(marked), GREY_HW)
    image = image_of(JPEG2000Lossless, encapsulate([marked]), bits=8)
    copy, is_followed, written = copied(image)
    assert is_followed
    assert NAME not in written
    (stream,) = generate_frames(copy.PixelData, number_of_frames=1)
    assert np.array_equal(shown(stream), GREY_HW)
    bare = without_texts(plain)  # whose main header names the library
    assert stream.rstrip(b"\0") == bare.rstrip(b"\0")


def test_a_last_tile_part_without_a_length_is_followed():
    plain = without_texts(pillow(no_jp2=True))
    last = plain.rindex(TILE)
    open_end = plain[: last + 6] + bytes(4) + plain[last + 10 :]
    kept = without_texts(with_comments_in_tiles(open_end) + NAME)
    assert NAME not in kept
    assert np.array_equal(shown(kept), GREY_HW)


def test_a_table_of_lengths_goes_with_the_comments():
    plain = without_texts(pillow(no_jp2=True))
    at = plain.index(TILE)
    lengths = b"\xff\x55" + struct.pack(">H 2B", 4, 0, 0)
    listed = plain[:at] + lengths + plain[at:]
    assert without_texts(listed) == listed
    assert without_texts(with_comments_in_tiles(listed)) == plain


def box(name, content):
    return struct.pack(">L", 8 + len(content)) + name + content


def boxes_between(plain):
    at = plain.index(b"jp2c") - 4
    return plain[:at] + box(b"uuid", bytes(16) + NAME) + box(b"xml ", NAME) + plain[at:]


def boxes_behind(plain):
    return plain + box(b"asoc", box(b"lbl ", NAME)) + box(b"uinf", NAME)


def a_box_in_the_header(plain):
    at = plain.index(b"jp2h") - 4
    (size,) = struct.unpack(">L", plain[at : at + 4])
    header = plain[at + 8 : at + size]
    return plain[:at] + box(b"jp2h", header + box(b"xml ", NAME)) + plain[at + size :]


def a_profile_of_colours(plain):
    at = plain.index(b"colr") - 4
    (size,) = struct.unpack(">L", plain[at : at + 4])
    colour = box(b"colr", b"\x02\0\0" + NAME)
    begin = plain.index(b"jp2h") - 4
    (length,) = struct.unpack(">L", plain[begin : begin + 4])
    header = plain[begin + 8 : at] + colour + plain[at + size : begin + length]
    return plain[:begin] + box(b"jp2h", header) + plain[begin + length :]


@pytest.mark.parametrize(
    "place", [boxes_between, boxes_behind, a_box_in_the_header, a_profile_of_colours]
)
def test_boxes_around_a_codestream_are_in_no_copy(place):
    plain = pillow()
    marked = place(plain)
    assert NAME in marked
    kept = without_texts(marked)
    assert NAME not in kept
    assert np.array_equal(shown(kept), GREY_HW)
    assert without_texts(kept) == kept


def test_a_jp2_file_of_no_pixels_is_told():
    plain = pillow()
    headless = plain[: plain.index(b"jp2c") - 4]
    assert not copied(image_of(JPEG2000Lossless, encapsulate([headless]), bits=8))[1]


@pytest.mark.parametrize("keyword", ["PixelData", "FloatPixelData", "DoubleFloatPixelData"])
def test_small_pictures_within_items_are_in_no_copy(keyword):
    image = image_of(pydicom.uid.ExplicitVRLittleEndian, PIXELS_HW.tobytes())
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    setattr(item, keyword, NAME + bytes(2))
    if keyword == "PixelData":
        item["PixelData"].VR = "OB"
    image.ReferencedImageSequence = [item]
    copy, _, written = copied(image)
    assert NAME not in written
    assert copy.ReferencedImageSequence[0].ReferencedSOPClassUID == image.SOPClassUID
    assert np.array_equal(copy.pixel_array, PIXELS_HW)
