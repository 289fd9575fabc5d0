"""Texts that the profile keeps and that repeat whom an image shows.

The basic profile keeps some texts as safe, such as the name of the manufacturer and codes. Local
habits put a patient's name or an institution there all the same; if the same file says that this
is one, the text is emptied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

from moekit_medical.findings.quiet import READ_ERRORS

_LEAST_LETTERS = 4
_IDENTIFYING = frozenset(
    (
        "AccessionNumber",
        "DeviceSerialNumber",
        "InstitutionAddress",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "OtherPatientIDs",
        "PatientAddress",
        "PatientID",
        "PatientTelephoneNumbers",
        "StationName",
        "StudyID",
    )
)
_LEAST_DIGITS = 6
_NUMBERS = frozenset(("DS", "IS", "SL", "SV", "UL", "UV"))
_BINARY = frozenset(("OB", "OW", "UN"))
_TEXTS = frozenset(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"))
# What de-identification itself writes, and what pixels and texts cannot be read without.
_LEFT_ALONE = frozenset(
    (
        "LongitudinalTemporalInformationModified",
        "Modality",
        "PatientID",
        "PatientIdentityRemoved",
        "PhotometricInterpretation",
        "SpecificCharacterSet",
    )
)
_METHOD = "DeidentificationMethodCodeSequence"


def empty_echoes(cleaned: Dataset, original: Dataset) -> int:
    """Empties the texts of a copy that hold an identifying value of its original.

    Names count by their parts, ids, places and dates as a whole, and all from four letters on,
    whatever their case. A number is emptied if it is such a value of six digits or more.

    Args:
        cleaned: The copy; it is changed.
        original: The image that it was made from.

    Returns:
        How many elements had such a text.
    """
    values = {
        value.casefold()
        for element in _every(original)
        for value in _identifying(element)
        if len(value) >= _LEAST_LETTERS
    }
    emptied = 0
    for element in _every(cleaned):
        if element.VR in _NUMBERS and _repeats(element, values):
            element.value = None
            emptied += 1
        if element.VR in _BINARY and _holds(element, values):
            element.value = b""
            emptied += 1
        if element.VR not in _TEXTS or element.keyword in _LEFT_ALONE:
            continue
        texts = _values(element)
        kept = ["" if any(one in text.casefold() for one in values) else text for text in texts]
        if kept != texts:
            element.value = kept if len(kept) > 1 else ""
            emptied += 1
    return emptied


def _identifying(element: DataElement) -> Iterator[str]:
    if element.VR == "PN":
        for name in _values(element):
            yield from re.split(r"[\^=\s,]+", name)
    elif element.VR == "DA" or element.keyword in _IDENTIFYING:
        yield from (value.strip() for value in _values(element))


def _repeats(element: DataElement, values: set[str]) -> bool:
    return any(len(text) >= _LEAST_DIGITS and text in values for text in _values(element))


def _holds(element: DataElement, values: set[str]) -> bool:
    """Whether binary data, such as a profile of colours, hold one of the values as a text."""
    if element.keyword == "PixelData" or not isinstance(element.value, bytes):
        return False
    text = element.value.decode("latin-1").casefold()
    return any(one in text for one in values)


def _values(element: DataElement) -> list[str]:
    value = element.value
    several = value if isinstance(value, (MultiValue, list)) else [value]
    return [str(one or "") for one in several]


def _every(dataset: Dataset) -> Iterator[DataElement]:
    """The elements at every depth that can be read, except those that state the method."""
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except READ_ERRORS:
            continue
        if element.VR == "SQ" and element.keyword != _METHOD:
            for item in element.value or []:
                yield from _every(item)
        elif element.VR != "SQ":
            yield element
