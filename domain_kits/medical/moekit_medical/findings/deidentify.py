"""A copy of a CT image without whom it shows.

The Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E, without any of its
options: neither pixels nor graphics nor descriptions are cleaned, and no dates, characteristics,
device or institution are retained.

Table E.1-1 lists what goes. Here more goes: the table grows with each edition and local habits put
names anywhere, so texts, dates, names, unknown and binary values are removed unless they are listed
as safe. For the other kinds of value, whose attributes the table lists one by one, the table's
attributes of an image are listed below as removed.

Numbers and tags are kept only if they are such (see `disguise`), codes only within the items that
they describe, of uncompressed pixels only the bits that are part of one (see `unused_bits`), and of
compressed ones nothing next to them, such as comments (see `codestreams`).

What this does not do: pixels stay as they are else, so burned-in text and a face that a rendering
of a head shows remain (the options Clean Pixel Data and Clean Recognizable Visual Features). An
image that says it has burned-in annotation is refused; one that wrongly says nothing is not
noticed. Codes are kept if their scheme is a public one. Objects other than images, such as
reports and structure sets, lose most of their content.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import pydicom
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

from moekit import DataError, UsageError
from moekit_medical.findings import rules
from moekit_medical.findings.codestreams import clear_codestreams
from moekit_medical.findings.disguise import hides_text
from moekit_medical.findings.identifiers import uid_of_hash
from moekit_medical.findings.quiet import READ_ERRORS, quiet
from moekit_medical.findings.unused_bits import clear_unused_bits
from moekit_medical.privacy import token

_CODE = re.compile("[A-Z0-9 _]{0,16}")


def deidentify(dataset: pydicom.Dataset, *, salt: bytes) -> pydicom.Dataset:
    """Makes a copy by the Basic Application Level Confidentiality Profile; see this module.

    UIDs and the patient's id become salted hashes (HMAC-SHA256), so that images which belong
    together stay together under one salt, and nobody without the salt can tell whose they are. The
    copy says that it was de-identified, how, and that its dates were removed.

    Args:
        dataset: An image, as `pydicom.dcmread` gives it. It is not changed.
        salt: Secret, not empty. Whoever has it can confirm a guess of an id.

    Returns:
        The copy, with file meta information if the transfer syntax is known.

    Raises:
        DataError: The image says that it has burned-in annotation, is nested too deeply, or has
            compressed pixels with something in bits that are no part of a pixel.
        UsageError: The salt is empty.
    """
    return deidentify_followed(dataset, salt=salt)[0]


def deidentify_followed(dataset: pydicom.Dataset, *, salt: bytes) -> tuple[pydicom.Dataset, bool]:
    """As `deidentify`, with whether all compressed pixels could be followed; see `codestreams`."""
    if not salt:
        raise UsageError(
            "de-identification needs a salt",
            whose="salt",
            fix="give random bytes, such as those of secrets.token_bytes(32), and keep them secret",
            code="usage/no-salt",
        )
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        raise DataError(
            "the image has burned-in annotation, which is not removed from pixels",
            whose="an image to de-identify",
            fix="leave the image out, or clean its pixels with another tool",
            code="data/burned-in",
        )
    try:
        with quiet():
            copy = _clean(dataset, salt)
            for keyword in (*rules.OF_A_CODE, *rules.OF_A_SCHEME):
                if keyword in copy:  # no code of anything
                    delattr(copy, keyword)
            clear_unused_bits(copy, dataset)
            is_followed = clear_codestreams(copy, dataset)
    except RecursionError:
        raise DataError(
            "the sequences are nested too deeply",
            whose="an image to de-identify",
            fix="leave the image out",
            code="data/nested-sequences",
        ) from None
    _declare(copy)
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        copy.file_meta = _file_meta(copy, meta)
    return copy, is_followed


def _clean(dataset: pydicom.Dataset, salt: bytes) -> pydicom.Dataset:
    copy = pydicom.Dataset()
    for tag in sorted(dataset.keys()):
        if tag.is_private or rules.is_removed_group(tag.group):
            continue
        try:
            cleaned = _clean_element(dataset[tag], salt)
        except READ_ERRORS:
            # What cannot be read cannot be judged.
            continue
        if cleaned is not None:
            copy.add(cleaned)
    return copy


def _clean_element(element: DataElement, salt: bytes) -> DataElement | None:
    """What stays of an element: itself, something in its place, or nothing."""
    keyword = keyword_for_tag(element.tag)
    if keyword in rules.EMPTIED:
        return _make(element, "")
    if keyword == "SpecificCharacterSet" and not _is_character_set(element.value):
        return None
    if keyword == "PatientID":
        return _make(element, _pseudonym(element.value, salt))
    if not keyword or rules.is_removed(keyword, element.tag.group) or _is_disguised(element):
        return None
    # A file may give an attribute another kind of value than the standard does: both must be safe.
    kinds = {element.VR, dictionary_VR(element.tag)}
    if kinds == {"SQ"}:
        return _clean_items(element, salt)
    if kinds == {"UI"}:
        return _make(element, _replace_uids(keyword, element.value, salt))
    if kinds == {"CS"}:
        return _make(element, element.value) if _is_code(element.value) else None
    if kinds <= rules.SAFE_VRS or keyword in rules.SAFE:
        return _make(element, element.value)
    return None


def _is_disguised(element: DataElement) -> bool:
    """Whether a value that is kept for its kind is something else; sequences are looked into."""
    return element.VR not in ("SQ", "UI") and hides_text(element)


def _clean_items(element: DataElement, salt: bytes) -> DataElement | None:
    items = [_clean(item, salt) for item in element.value if not _is_local_code(item)]
    for item in items:
        for keyword in rules.PIXELS:  # of small pictures of something else
            if keyword in item:
                delattr(item, keyword)
    return _make(element, Sequence(items)) if items or not element.value else None


def _is_local_code(item: pydicom.Dataset) -> bool:
    """Whether an item is a code of a hospital or a maker: its value and meaning may name it."""
    is_code = any(keyword in item for keyword in rules.OF_A_CODE)
    return is_code and str(item.get("CodingSchemeDesignator", "")) not in rules.CODING_SCHEMES


def _make(element: DataElement, value: object) -> DataElement:
    made = DataElement(element.tag, element.VR, value, validation_mode=pydicom.config.IGNORE)
    made.is_undefined_length = element.is_undefined_length
    return made


def _is_code(value: object) -> bool:
    """Whether a code string is one (PS3.5 6.2) and not a text in its place."""
    codes = value if isinstance(value, (MultiValue, list)) else [value]
    return all(_CODE.fullmatch(str(code or "")) for code in codes)


def _is_character_set(value: object) -> bool:
    """Whether these are character sets that DICOM or its readers know, and no text."""
    names = value if isinstance(value, (MultiValue, list)) else [value]
    return all(str(name or "") in python_encoding for name in names)


def _replace_uids(keyword: str, value: object, salt: bytes) -> str | list[str]:
    if isinstance(value, (MultiValue, list)):
        return [_replace_uid(keyword, str(uid), salt) for uid in value]
    return _replace_uid(keyword, str(value or ""), salt)


def _replace_uid(keyword: str, text: str, salt: bytes) -> str:
    """The UID itself if it names a class, a coding scheme or nothing; else its salted hash."""
    uid = UID(text, validation_mode=pydicom.config.IGNORE)
    in_standard = uid.name != text
    if not text or in_standard or (keyword in rules.SAFE_UIDS and uid.is_valid):
        return text
    data = text.encode("utf-8", "surrogatepass")
    return uid_of_hash(hmac.new(salt, data, hashlib.sha256).digest())


def _pseudonym(value: object, salt: bytes) -> str:
    text = str(value or "")
    return token(text, salt=salt) if text else ""


def _declare(copy: pydicom.Dataset) -> None:
    """States the de-identification, as PS3.15 E.1.1 asks."""
    method = pydicom.Dataset()
    method.CodeValue = "113100"
    method.CodingSchemeDesignator = "DCM"
    method.CodeMeaning = "Basic Application Confidentiality Profile"
    copy.PatientIdentityRemoved = "YES"
    copy.DeidentificationMethodCodeSequence = [method]
    copy.LongitudinalTemporalInformationModified = "REMOVED"


def _file_meta(copy: pydicom.Dataset, meta: FileMetaDataset) -> FileMetaDataset:
    """New file meta information, which names no application, from the copy's own UIDs."""
    fresh = FileMetaDataset()
    fresh.TransferSyntaxUID = meta.TransferSyntaxUID
    for keyword, of_copy in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if copy.get(of_copy):
            setattr(fresh, keyword, copy.get(of_copy))
    return fresh
