"""Texts that the profile keeps are emptied where they repeat whom the image shows."""

import pytest
from pydicom.dataset import Dataset

from moekit_medical.deidentification.echoes import empty_echoes
from moekit_medical.findings.deidentify import deidentify

SALT = b"salt of the tests"


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("Manufacturer", "hospital of nowhere, workshop"),
        ("ManufacturerModelName", "INVENTED-1"),
        ("SoftwareVersions", "v20200102"),
        ("ConvolutionKernel", "ACCESSION-77"),
        ("BodyPartExamined", "INVENTED"),
    ],
)
def test_a_repeated_value_goes(image, keyword, text):
    original = image(1)
    setattr(original, keyword, text)
    cleaned = deidentify(original, salt=SALT)
    assert cleaned.get(keyword) == text
    assert empty_echoes(cleaned, original) == 1
    assert cleaned.get(keyword) == ""


def test_of_several_values_the_others_stay(image):
    original = image(1)
    original.ImageType = ["ORIGINAL", "PRIMARY", "INVENTED"]
    cleaned = deidentify(original, salt=SALT)
    empty_echoes(cleaned, original)
    assert list(cleaned.ImageType) == ["ORIGINAL", "PRIMARY", ""]


def test_a_repeated_value_in_an_item_goes(image):
    original, code = image(1), Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "39607008", "SCT"
    code.CodeMeaning = "Lung of Invented"
    original.AnatomicRegionSequence = [code]
    cleaned = deidentify(original, salt=SALT)
    assert empty_echoes(cleaned, original) == 1
    assert cleaned.AnatomicRegionSequence[0].CodeMeaning == ""


def test_without_a_repetition_nothing_changes_and_what_decodes_pixels_never_does(image):
    original = image(1)
    assert empty_echoes(deidentify(original, salt=SALT), original) == 0
    original.PatientName = "Removed^Monochrome2^Basic"
    cleaned = deidentify(original, salt=SALT)
    assert empty_echoes(cleaned, original) == 0
    assert cleaned.PhotometricInterpretation == "MONOCHROME2"
    assert cleaned.DeidentificationMethodCodeSequence[0].CodeMeaning.startswith("Basic")


def test_a_number_that_repeats_a_birth_date_is_emptied():
    original, cleaned = Dataset(), Dataset()
    original.PatientBirthDate, original.PatientID = "19700101", "4711"
    cleaned.AcquisitionNumber, cleaned.InstanceNumber = 19700101, 4711
    assert empty_echoes(cleaned, original) == 1
    assert not cleaned["AcquisitionNumber"].value
    assert cleaned.InstanceNumber == 4711


def test_binary_data_that_hold_a_name_are_emptied():
    original = Dataset()
    original.PatientName = "Zacharias^Wilma"
    cleaned = Dataset()
    cleaned.add_new("ICCProfile", "OB", b"desc\0profile of ZACHARIAS\0")
    cleaned.add_new("PixelData", "OB", b"zacharias")
    assert empty_echoes(cleaned, original) == 1
    assert cleaned.ICCProfile == b""
    assert cleaned.PixelData == b"zacharias"
