"""De-identification: texts in numbers, graphics in unused bits, the table's newest attributes."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_has_tag, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import RLELossless

from moekit.testing import refused
from moekit_medical.findings.deidentify import deidentify

SALT = b"salt of the tests"
LEAK = b"DOE^JANE 19700101 HospitalNo 4711!! "

# Sequences, code strings and numbers of DICOM PS3.15 table E.1-1 (2026d) with the actions X, D or
# Z; the other kinds of value are all removed.
TABLE = """
00081084 00081302 00081304 00081301 00081303 00080082 00081041 00081049 00081052 00081062 00081072
00080096 0008009D 00081110 00081111 00081120 00100011 00100014 00100015 00100041 00100043 00100044
00100046 00100050 00100101 00100102 00101002 00101020 00101030 00101100 001021A0 001021C0 00102161
00102203 00120023 00160070 00160072 00160074 00160076 00185011 0018100A 00203401 00321067 00340001
00380004 00380014 00380064 00400275 00400513 00400555 00400562 00400610 00401011 00401101 0040000B
0040100A 00404025 00404027 00404028 00404030 00404034 00404037 0040A073 0040A078 0040A07A 0040A07C
0040A088 0040A358 0040A730 0040B020 04000402 04000403 04000550 04000551 04000561 04000565 04000600
00700001 00700086 00880200 3006004D 3006004E 30100081 40080111 40080118 FFFAFFFA
"""


def of_another_kind(keyword, vr, data, *, image):
    """The image with an element of the bytes given."""
    tag = Tag(keyword)
    image[tag] = RawDataElement(tag, vr, len(data), data, 0, False, True)
    return image


def written(dataset):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("keyword", "vr"),
    [
        ("PixelPaddingValue", "SS"),  # one value
        ("SmallestImagePixelValue", "US"),
        ("Rows", "US"),
        ("ExposureInmAs", "FD"),
        ("ReconstructionFieldOfView", "FD"),  # two values
        ("FrameIncrementPointer", "AT"),  # any number of tags
        ("SimpleFrameList", "UL"),  # any number of numbers
        ("WindowCenter", "FL"),  # another kind than in the dictionary
    ],
)
def test_a_text_among_numbers_is_removed(slices, keyword, vr):
    data = LEAK + bytes(-len(LEAK) % 8)
    image = of_another_kind(keyword, vr, data, image=slices[0])
    cleaned = deidentify(image, salt=SALT)
    assert keyword not in cleaned
    for part in (b"DOE", b"JANE", b"1970"):
        assert part not in written(cleaned).replace(image.PixelData, b"")


@pytest.mark.parametrize("keyword", ["KVP", "InstanceNumber", "Modality", "Manufacturer"])
def test_more_values_than_the_attribute_has_are_removed(slices, keyword):
    vr, text = slices[0][keyword].VR, str(slices[0][keyword].value)
    data = f"{text}\\19700101 ".encode()
    cleaned = deidentify(of_another_kind(keyword, vr, data, image=slices[0]), salt=SALT)
    assert keyword not in cleaned


def test_a_text_of_eight_letters_in_one_double_is_removed(slices):
    image = of_another_kind("SliceLocationVector", "FD", b"DOE^JANE", image=slices[0])
    image = of_another_kind("ExposureTimeInms", "FD", b"DOE^JANE", image=image)
    cleaned = deidentify(image, salt=SALT)
    assert "ExposureTimeInms" not in cleaned


def test_numbers_and_tags_that_are_such_stay(slices):
    image = slices[0]
    image.FrameIncrementPointer = [0x00181063, 0x00200032]
    image.WindowCenter = [40.0, -600.0]
    image.ReconstructionFieldOfView = [350.0, 350.0]
    image.SimpleFrameList = [1, 2, 3, 4, 500]
    image.add_new("LUTData", "US", list(range(0, 65536, 64)))
    image.PixelPaddingValue = -2000
    image["PixelPaddingValue"].VR = "SS"
    cleaned = deidentify(image, salt=SALT)
    for keyword in (
        "FrameIncrementPointer",
        "WindowCenter",
        "ReconstructionFieldOfView",
        "SimpleFrameList",
        "PixelPaddingValue",
        "ImagePositionPatient",
        "PixelSpacing",
        "Rows",
    ):
        assert cleaned[keyword].value == image[keyword].value, keyword


def test_the_study_inside_a_numeric_element_of_a_public_file_is_removed(shared):
    path = shared / "cases" / "dicom" / "fodicom_GH179A_MS-PL.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = pydicom.dcmread(path, force=True)
        assert image["PixelPaddingValue"].VM > 700
        assert "PixelPaddingValue" not in deidentify(image, salt=SALT)


# Bits that hold no part of a pixel.


def twelve_bits(image, values_HW, *, signed=False):
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = int(signed)
    image.PixelData = values_HW.astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    return image


def pixels(image):
    return np.frombuffer(image.PixelData, "<u2").reshape(16, 16)


def test_an_overlay_in_high_bits_is_cleared_with_its_header(slices):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    hidden = values.copy()
    hidden[3:6, 2:9] |= 0x8000
    image = twelve_bits(slices[0], hidden)
    image.add_new(0x60000010, "US", 16)
    image.add_new(0x60000102, "US", 15)
    cleaned = deidentify(image, salt=SALT)
    assert np.array_equal(pixels(cleaned), values)
    assert cleaned["PixelData"].VR == "OW"
    assert 0x60000102 not in cleaned


def test_the_sign_stays_and_padding_beyond_the_stored_bits_too(slices):
    signed = np.arange(-128, 128, dtype=np.int16).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(
        pixels(deidentify(twelve_bits(slices[0], signed, signed=True), salt=SALT)), signed
    )
    short = signed & 0x0FFF
    image = twelve_bits(slices[2], short, signed=True)
    assert np.array_equal(pixels(deidentify(image, salt=SALT)), short)
    padded = np.full((16, 16), 63536, dtype=np.uint16)
    padded[4] = 0x8123
    image = twelve_bits(slices[1], padded)
    image.PixelPaddingValue = 63536
    image["PixelPaddingValue"].VR = "US"
    padded[4] = 0x123
    assert np.array_equal(pixels(deidentify(image, salt=SALT)), padded)


def test_pixels_that_use_all_their_bits_stay_byte_for_byte(slices):
    assert deidentify(slices[0], salt=SALT).PixelData == slices[0].PixelData


def test_compressed_pixels_with_an_overlay_in_high_bits_are_refused(slices):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    image = twelve_bits(slices[0], values)
    image.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    assert deidentify(image, salt=SALT).PixelData == image.PixelData
    values[2, 2] |= 0x4000
    image = twelve_bits(slices[1], values)
    image.BitsStored, image.HighBit = 16, 15
    image.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    image.BitsStored, image.HighBit = 12, 11
    with refused("data/unused-bits"):
        deidentify(image, salt=SALT)


def test_an_overlay_that_a_header_places_in_compressed_pixels_is_refused(slices):
    image = twelve_bits(slices[0], np.zeros((16, 16), np.uint16))
    image.file_meta.TransferSyntaxUID = RLELossless
    image.PixelData = encapsulate([b"damaged!"])
    image.add_new(0x60000102, "US", 15)
    with refused("data/unused-bits"):
        deidentify(image, salt=SALT)


# Attributes of the table.


@pytest.mark.parametrize("number", TABLE.split())
def test_attributes_of_the_standards_table_are_removed(slices, number):
    tag = Tag(int(number, 16))
    image = slices[0]
    if keyword_for_tag(tag) and dictionary_has_tag(tag):
        vr = pydicom.datadict.dictionary_VR(tag)
    else:
        vr = "SQ"
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "DCM", "Q7MARKER"
    value = {"SQ": [item], "CS": "Q7MARKER", "US": 4711, "DS": "4711", "FD": 4711.0}.get(vr, "Q7")
    image.add(pydicom.DataElement(tag, vr, value, validation_mode=pydicom.config.IGNORE))
    assert tag not in deidentify(image, salt=SALT)


def test_all_else_of_the_patient_is_removed(slices):
    image = slices[0]
    image.PatientBodyMassIndex, image.TypeOfPatientID = "22.5", "TEXT"
    cleaned = deidentify(image, salt=SALT)
    stays = {"PatientName", "PatientID", "PatientBirthDate", "PatientSex"}
    assert {keyword_for_tag(tag) for tag in cleaned.keys() if tag.group == 0x0010} == stays  # noqa: SIM118


def test_a_code_stays_in_what_it_describes_and_goes_at_the_top_level(slices):
    image = slices[0]
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-D3000", "SRT", "Chest"
    image.AnatomicRegionSequence = [item]
    for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"):
        of_another_kind(
            keyword, "LO" if keyword == "CodeMeaning" else "SH", b"DOE JANE", image=image
        )
    cleaned = deidentify(image, salt=SALT)
    assert tag_for_keyword("CodeMeaning") not in cleaned
    assert "CodeValue" not in cleaned
    assert "CodingSchemeDesignator" not in cleaned
    assert cleaned.AnatomicRegionSequence[0].CodeMeaning == "Chest"
