"""De-identification: a marker put into every identifying attribute must be gone."""

import copy
import importlib.util
import io
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from moekit.testing import refused
from moekit_medical.findings import rules
from moekit_medical.findings.deidentify import deidentify
from moekit_medical.findings.quiet import quiet

SALT = b"salt of the tests"
MARKER = "Xq7Marker"
TEXT_VRS = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
DATE_VRS = {"DA": "19371119", "DT": "19371119111111", "TM": "193711", "AS": "083Y"}
MARKED_UID = "1.2.3.193711191"


def data_of(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def put(dataset: Dataset, keyword: str, value: object) -> None:
    dataset.add(
        pydicom.DataElement(
            tag_for_keyword(keyword),
            dictionary_VR(keyword),
            value,
            validation_mode=pydicom.config.IGNORE,
        )
    )


def keywords_of(*vrs: str) -> list[str]:
    """Keywords of the whole DICOM dictionary that may stand in an image."""
    return [
        entry[4]
        for tag, entry in DicomDictionary.items()
        if entry[0] in vrs and entry[4] and tag >> 16 >= 8
    ]


@pytest.fixture
def image(slices) -> Dataset:
    return slices[0]


def test_no_text_of_the_whole_dictionary_survives_but_what_is_listed_as_safe(image):
    for keyword in keywords_of(*TEXT_VRS):
        if keyword not in rules.SAFE:
            put(image, keyword, MARKER)
    assert MARKER.encode() in data_of(image)
    assert MARKER.encode() not in data_of(deidentify(image, salt=SALT))


def test_no_date_time_or_age_of_the_whole_dictionary_survives(image):
    for vr, value in DATE_VRS.items():
        for keyword in keywords_of(vr):
            put(image, keyword, value)
    data = data_of(deidentify(image, salt=SALT))
    assert b"193711" not in data
    assert b"083Y" not in data


def test_no_uid_of_the_whole_dictionary_survives_but_those_of_classes_and_schemes(image):
    for keyword in keywords_of("UI"):
        if keyword not in rules.SAFE_UIDS:
            put(image, keyword, MARKED_UID)
    assert MARKED_UID.encode() not in data_of(deidentify(image, salt=SALT))


def test_no_name_in_an_item_of_any_sequence_survives(image):
    for keyword in keywords_of("SQ"):
        item = Dataset()
        item.PatientName = item.OtherPatientNames = MARKER
        item.PersonName = item.InstitutionName = item.TextValue = MARKER
        inner = Dataset()
        inner.PatientID = inner.OperatorsName = MARKER
        item.ReferencedImageSequence = [inner]
        image.add_new(tag_for_keyword(keyword), "SQ", [item])
    assert MARKER.encode() in data_of(image)
    assert MARKER.encode() not in data_of(deidentify(image, salt=SALT))


def test_private_binary_and_unknown_values_go_at_every_depth(image):
    item = Dataset()
    for dataset in (image, item):
        block = dataset.private_block(0x0029, "MAKER", create=True)
        block.add_new(0x10, "LO", MARKER)
        dataset.add_new(0x00091010, "UN", MARKER.encode())
        dataset.add_new(0x00420011, "OB", MARKER.encode() + b"\0")
        dataset.add_new(0x60003000, "OW", MARKER.encode() + b"\0")
        dataset.add_new(0x60024000, "LT", MARKER)
        dataset.add_new(0x50003000, "OW", MARKER.encode() + b"\0")
    image.AnatomicRegionSequence = [item]
    clean = deidentify(image, salt=SALT)
    assert MARKER.encode() not in data_of(clean)
    assert not any(tag.is_private for tag in clean)
    assert len(clean.AnatomicRegionSequence) == 1


def test_codes_of_a_hospital_go_and_public_ones_stay(image):
    items = []
    for scheme in ("SCT", "SOME_RIS", ""):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator = "39607008", scheme
        item.CodeMeaning = "Lung" if scheme == "SCT" else MARKER
        items.append(item)
    image.AnatomicRegionSequence = items
    image.ProcedureCodeSequence = items[1:]
    clean = deidentify(image, salt=SALT)
    assert [item.CodeMeaning for item in clean.AnatomicRegionSequence] == ["Lung"]
    assert "ProcedureCodeSequence" not in clean
    assert MARKER.encode() not in data_of(clean)


def test_a_text_in_place_of_a_code_string_goes_and_codes_stay(image):
    image.BodyPartExamined, image.PatientPosition = "CHEST", "HFS"
    put(image, "ScanOptions", MARKER)
    clean = deidentify(image, salt=SALT)
    assert "ScanOptions" not in clean
    assert (clean.BodyPartExamined, clean.PatientPosition) == ("CHEST", "HFS")


def test_a_text_in_place_of_a_number_goes(image):
    raw = data_of(image).replace(b"DS\x04\x00120 ", b"DS\x04\x00Xq7M")
    clean = deidentify(pydicom.dcmread(io.BytesIO(raw)), salt=SALT)
    assert b"Xq7M" in raw
    assert "KVP" not in clean


@pytest.mark.parametrize("vr", ["CS", "DS", "US", "UI", "SQ"])
def test_a_text_under_a_wrong_kind_of_value_goes(image, vr):
    empty = pydicom.DataElement("InstitutionAddress", "ST", "")
    empty.VR = vr
    empty._value = "XQ7" if vr != "SQ" else []
    image.add(empty)
    assert "InstitutionAddress" not in deidentify(image, salt=SALT)


@pytest.mark.parametrize(
    "keyword",
    ["PatientSize", "PatientWeight", "PregnancyStatus", "SmokingStatus", "PatientSexNeutered"],
)
def test_characteristics_of_the_patient_go(image, keyword):
    put(image, keyword, 1 if dictionary_VR(keyword) == "US" else "1")
    assert keyword in image
    assert keyword not in deidentify(image, salt=SALT)


def test_attributes_that_an_image_must_have_are_emptied_and_not_removed(image):
    clean = deidentify(image, salt=SALT)
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        assert keyword in clean
        assert not clean.get(keyword)
    for keyword in ("StudyID", "AccessionNumber", "ReferringPhysicianName"):
        assert clean.get(keyword) == ""


def test_pixels_geometry_and_rescaling_stay_as_they_are(image):
    clean = deidentify(image, salt=SALT)
    assert clean.PixelData == image.PixelData
    assert (clean.pixel_array == image.pixel_array).all()
    for keyword in (
        "SOPClassUID",
        "Modality",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "Manufacturer",
        "KVP",
        "ImageType",
    ):
        assert clean.get(keyword) == image.get(keyword)


def test_it_states_what_was_done(image):
    clean = deidentify(image, salt=SALT)
    (method,) = clean.DeidentificationMethodCodeSequence
    assert (method.CodeValue, method.CodingSchemeDesignator) == ("113100", "DCM")
    assert clean.PatientIdentityRemoved == "YES"
    assert clean.LongitudinalTemporalInformationModified == "REMOVED"


def test_uids_are_replaced_alike_wherever_they_stand_and_others_under_another_salt(slices):
    reference = Dataset()
    reference.ReferencedSOPClassUID = slices[0].SOPClassUID
    reference.ReferencedSOPInstanceUID = slices[1].SOPInstanceUID
    slices[0].ReferencedImageSequence = [reference]
    first, second = (deidentify(ds, salt=SALT) for ds in slices[:2])
    other = deidentify(slices[0], salt=b"another")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != slices[0].SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    referenced = first.ReferencedImageSequence[0]
    assert referenced.ReferencedSOPInstanceUID == second.SOPInstanceUID
    assert referenced.ReferencedSOPClassUID == slices[0].SOPClassUID
    assert other.SeriesInstanceUID != first.SeriesInstanceUID
    assert UID(first.SOPInstanceUID).is_valid


def test_a_patient_has_one_pseudonym_under_one_salt(slices):
    slices[2].PatientID = "ID2"
    first, second, third = (deidentify(ds, salt=SALT).PatientID for ds in slices[:3])
    assert first == second != third
    assert "ID1" not in first
    assert deidentify(slices[0], salt=b"another").PatientID != first


def test_the_file_header_names_the_new_image_and_no_application(image):
    image.file_meta.SourceApplicationEntityTitle = MARKER
    image.file_meta.ImplementationVersionName = MARKER
    image.preamble = MARKER.encode().ljust(128, b"\0")
    clean = deidentify(image, salt=SALT)
    read = pydicom.dcmread(io.BytesIO(data_of(clean)))
    assert MARKER.encode() not in data_of(clean)
    assert read.file_meta.MediaStorageSOPInstanceUID == clean.SOPInstanceUID == read.SOPInstanceUID
    assert read.file_meta.TransferSyntaxUID == image.file_meta.TransferSyntaxUID


def test_the_path_of_a_file_does_not_stay_on_the_copy(image, tmp_path):
    path = tmp_path / f"{MARKER}.dcm"
    path.write_bytes(data_of(image))
    clean = deidentify(pydicom.dcmread(path), salt=SALT)
    assert MARKER not in repr(vars(clean))


def test_the_original_is_not_changed_and_a_repeat_is_byte_identical(image):
    before = copy.deepcopy(image)
    first, second = (data_of(deidentify(image, salt=SALT)) for _ in range(2))
    assert image == before
    assert first == second


def test_a_data_set_without_file_header_is_cleaned_too(image):
    del image.file_meta
    clean = deidentify(image, salt=SALT)
    assert clean.PatientName == ""


@pytest.mark.parametrize("value", ["YES", "yes "])
def test_burned_in_annotation_is_refused(image, value):
    put(image, "BurnedInAnnotation", value)
    with refused("data/burned-in") as caught:
        deidentify(image, salt=SALT)
    assert "Invented" not in str(caught.value)


def test_an_empty_salt_is_refused(image):
    with refused("usage/no-salt"):
        deidentify(image, salt=b"")


def test_sequences_nested_without_end_are_refused(image):
    top = item = Dataset()
    for _ in range(2000):
        inner = Dataset()
        item.AnatomicRegionSequence = [inner]
        item = inner
    image.AnatomicRegionSequence = [top]
    with refused("data/nested-sequences"):
        deidentify(image, salt=SALT)


@pytest.mark.parametrize("names", [rules.SAFE, rules.SAFE_UIDS, rules.EMPTIED, rules.REMOVED])
def test_every_keyword_of_the_rules_is_one_of_the_dictionary(names):
    assert all(keyword_for_tag(tag_for_keyword(name)) == name for name in names)


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm"],
)
def test_every_encoding_of_a_file_is_kept_with_its_pixels(name):
    dataset = pydicom.dcmread(get_testdata_file(name))
    clean = pydicom.dcmread(io.BytesIO(data_of(deidentify(dataset, salt=SALT))))
    assert clean.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert (clean.pixel_array == dataset.pixel_array).all()
    assert clean.PatientName == ""


def _packaged() -> list[Path]:
    spec = importlib.util.find_spec("deid_data")
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted(Path(spec.submodule_search_locations[0]).rglob("*.dcm"))


@pytest.mark.skipif(not _packaged(), reason="the files come with the package deid-data")
@pytest.mark.parametrize("path", _packaged(), ids=lambda path: path.name)
def test_no_identifying_value_of_a_real_file_survives(path):
    dataset = pydicom.dcmread(path, force=True)
    dataset.BurnedInAnnotation = "NO"
    with quiet():
        elements = list(dataset.iterall())
    secrets = {
        str(element.value).encode()
        for element in elements
        if not element.tag.is_private
        and (
            element.VR in ("PN", "DA", "DT")
            or element.keyword
            in ("PatientID", "InstitutionName", "AccessionNumber", "StudyInstanceUID")
        )
        and len(str(element.value)) > 3
    }
    assert secrets
    clean = deidentify(dataset, salt=SALT)
    assert clean.PixelData == dataset.PixelData
    del clean.PixelData
    data = data_of(clean)
    assert not [secret for secret in secrets if secret in data]
