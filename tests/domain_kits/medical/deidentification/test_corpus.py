"""All files of pydicom, pydicom-data and deid-data: no exception, and nothing of whom they show."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.multival import MultiValue
from pydicom.uid import PYDICOM_ROOT_UID, UID

from moekit_medical.deidentification.run import deidentify_files
from moekit_medical.findings.codestreams import without_texts
from moekit_medical.findings.quiet import READ_ERRORS, quiet
from moekit_medical.findings.rules import SAFE_UIDS
from moekit_medical.privacy import token

SALT = b"salt of the tests, 32 bytes long"
PACKAGES = {"pydicom.data": 150, "data_store": 60, "deid_data": 10}
IDENTIFYING = {"PatientID", "AccessionNumber", "InstitutionName", "OtherPatientIDs", "StationName"}
SHORTEST = 5


def folder_of(package):
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations))).absolute()


def elements_of(path):
    dataset = pydicom.dcmread(path, force=True)
    todo = [dataset, dataset.file_meta]
    while todo:
        current = todo.pop()
        for tag in list(current.keys()):
            try:
                element = current[tag]
            except READ_ERRORS:
                continue
            if element.VR == "SQ":
                todo.extend(element.value or [])
            else:
                yield element


def secrets_of(path):
    """Names, dates, ids, places and UIDs of instances, as they stand in the file."""
    for element in elements_of(path):
        value = element.value
        for one in value if isinstance(value, (MultiValue, list)) else [value]:
            text = str(one or "")
            is_of_an_instance = (
                element.VR == "UI"
                and element.keyword not in SAFE_UIDS
                and UID(text).name == text
                and not text.startswith(PYDICOM_ROOT_UID[:-1])
            )
            is_told = element.VR in ("PN", "DA", "DT") or element.keyword in IDENTIFYING
            if len(text) >= SHORTEST and (is_told or is_of_an_instance):
                yield text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module", params=PACKAGES)
def corpus(request, tmp_path_factory):
    """Files of one package with their copies, and how many there are at least."""
    folder, out = folder_of(request.param), tmp_path_factory.mktemp("copies")
    summary = deidentify_files(folder, out=out, salt=SALT)
    assert summary.is_finished
    copy_of = {outcome.file: outcome.copy for outcome in summary.outcomes if outcome.copy}
    names = {path: token(str(path), salt=SALT) for path in sorted(folder.rglob("*"))}
    pairs = [(path, out / copy_of[name]) for path, name in names.items() if name in copy_of]
    assert len(pairs) >= PACKAGES[request.param]
    return pairs


def test_no_identifying_value_survives_in_any_byte_of_any_copy(corpus):
    count = 0
    with quiet():
        for path, copy in corpus:
            data, secrets = copy.read_bytes(), set(secrets_of(path))
            survivors = [secret for secret in secrets if secret in data]
            assert not survivors, (path.name, survivors)
            count += len(secrets)
    assert count > 2 * len(corpus)


def decoded(image):
    """The pixels; None of a damaged stream, or without a decoder."""
    try:
        return image.pixel_array
    except RuntimeError:
        return None


def frames_of(image):
    count = int(image.get("NumberOfFrames") or 1)
    return list(generate_frames(image.PixelData, number_of_frames=count))


def test_each_copy_is_readable_with_the_pixels_of_its_original(corpus):
    with quiet():
        for path, copy in corpus:
            original, clean = pydicom.dcmread(path, force=True), pydicom.dcmread(copy)
            assert clean.SOPClassUID == original.SOPClassUID
            if clean.get("PixelData") != original.get("PixelData"):  # comments of a codestream
                assert original.file_meta.TransferSyntaxUID.is_encapsulated, path.name
                assert np.array_equal(decoded(clean), decoded(original)), path.name
                kept = [without_texts(frame) for frame in frames_of(original)]
                assert frames_of(clean) == [one + bytes(len(one) % 2) for one in kept], path.name
            assert clean.PatientIdentityRemoved == "YES"
