"""Texts in and behind compressed pixels, which `deidentify` removes without touching a pixel."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from moekit_medical.findings.codestreams import clear_codestreams, without_texts
from moekit_medical.findings.deidentify import deidentify

NAME = b"DOE^JANE 1941"
NO_HEADER = b"\xff\x4f\xff\xd9"
PIXELS_HW = np.random.default_rng(0).integers(0, 255, (40, 56), dtype=np.uint8)


def pillow(kind, **options):
    written = io.BytesIO()
    Image.fromarray(PIXELS_HW).save(written, kind, **options)
    return written.getvalue()


def segment(marker):
    return bytes((0xFF, marker)) + (len(NAME) + 2).to_bytes(2, "big") + NAME


def shown(stream):
    return np.asarray(Image.open(io.BytesIO(stream)))


def image_of(syntax, fragments):
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    image.SOPInstanceUID = "1.2.3"
    image.Rows, image.Columns = PIXELS_HW.shape
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 7, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = encapsulate(fragments, has_bot=False)
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    return image


@pytest.mark.parametrize("marker", [0xFE, 0xE0, 0xE1, 0xE8, 0xEE, 0xEF])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_comments_and_application_data_of_a_jpeg_go(marker, options):
    plain = pillow("JPEG", quality=95, **options)
    scan = plain.index(b"\xff\xda")
    for stream in (
        plain[:2] + segment(marker) + plain[2:],
        plain[:scan] + segment(marker) + plain[scan:],
        plain + NAME,
    ):
        kept = without_texts(stream)
        assert NAME not in kept
        assert np.array_equal(shown(kept), shown(plain))
    assert without_texts(plain) == plain


def test_comments_between_the_scans_of_a_jpeg_go():
    plain = pillow("JPEG", quality=95, progressive=True)
    second = plain.rindex(b"\xff\xda")
    stream = plain[:second] + segment(0xFE) + plain[second:]
    assert without_texts(stream) == plain


def test_what_says_how_colours_are_coded_stays():
    written = io.BytesIO()
    Image.merge("CMYK", [Image.fromarray(PIXELS_HW)] * 4).save(written, "JPEG")
    plain = written.getvalue()
    assert b"Adobe" in plain
    assert without_texts(plain) == plain


def test_comments_of_a_jpeg_2000_go():
    stream = pillow("JPEG2000", no_jp2=True, comment=NAME.decode())
    kept = without_texts(stream + NAME)
    assert NAME not in kept
    assert np.array_equal(shown(kept), PIXELS_HW)


def test_streams_that_cannot_be_followed_stay_as_they_are():
    plain = pillow("JPEG")
    for stream in (
        b"",
        b"\xff\xd8",
        plain[:100],
        plain[:-2],
        plain[:2] + NAME,
        NO_HEADER,
    ):
        assert without_texts(stream) == stream


def test_a_jpeg_ls_and_an_image_without_texts_stay_as_they_are():
    image = image_of(JPEGBaseline8Bit, [pillow("JPEG")])
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    del image.PixelData
    image.PixelData = PIXELS_HW.tobytes()
    image["PixelData"].VR = "OB"
    for syntax in (JPEGLSLossless, RLELossless):
        compressed = pydicom.dcmread(_written(image))
        compressed.compress(syntax)
        copy = deidentify(compressed, salt=b"salt")
        assert copy.PixelData == compressed.PixelData
    (stream,) = generate_frames(_of_jpeg_ls(image), number_of_frames=1)
    with_text = stream[:2] + segment(0xFE) + stream[2:]
    assert without_texts(with_text) == stream[: stream.rindex(b"\xff\xd9") + 2]


def _of_jpeg_ls(image):
    compressed = pydicom.dcmread(_written(image))
    compressed.compress(JPEGLSLossless)
    return compressed.PixelData


def _written(image):
    written = io.BytesIO()
    image.save_as(written, enforce_file_format=True)
    written.seek(0)
    return written


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless])
def test_a_copy_has_the_pixels_and_no_text(syntax):
    is_jpeg = syntax == JPEGBaseline8Bit
    plain = pillow("JPEG") if is_jpeg else pillow("JPEG2000", no_jp2=True, comment=NAME.decode())
    marked = plain[:2] + segment(0xFE) + plain[2:] if is_jpeg else plain
    image = image_of(syntax, [marked, NAME])
    copy = deidentify(image, salt=b"salt")
    written = _written(copy).getvalue()
    assert NAME not in written
    assert NAME in image.PixelData
    (stream,) = generate_frames(pydicom.dcmread(io.BytesIO(written)).PixelData, number_of_frames=1)
    assert np.array_equal(shown(stream), shown(plain))


def test_each_of_several_frames_is_cleared():
    plain = pillow("JPEG")
    marked = plain[:2] + segment(0xE1) + plain[2:]
    image = image_of(JPEGBaseline8Bit, [marked, plain, marked])
    image.NumberOfFrames = 3
    copy = pydicom.Dataset(image)
    clear_codestreams(copy, image)
    frames = list(generate_frames(copy.PixelData, number_of_frames=3))
    assert [shown(frame).shape for frame in frames] == [PIXELS_HW.shape] * 3
    assert NAME not in copy.PixelData


def test_a_character_set_that_is_a_text_goes():
    image = image_of(JPEGBaseline8Bit, [pillow("JPEG")])
    image["SpecificCharacterSet"] = pydicom.DataElement(
        "SpecificCharacterSet", "CS", "DOE JANE", validation_mode=pydicom.config.IGNORE
    )
    assert "SpecificCharacterSet" not in deidentify(image, salt=b"salt")
    image.SpecificCharacterSet = ["ISO_IR 100", "ISO 2022 IR 87"]
    assert deidentify(image, salt=b"salt").SpecificCharacterSet == ["ISO_IR 100", "ISO 2022 IR 87"]
