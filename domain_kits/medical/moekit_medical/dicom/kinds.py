"""What kind of picture the header of a CT object says it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_LOCALIZER = "a localizer"
_PROJECTION = "a projection, not a slice"
_RENDERING = "a rendering, not a slice"
_MATERIAL = "a map of a material or an energy, not Hounsfield units as a CT measures them"
_DIFFERENCE = "a difference or a ratio of images, not Hounsfield units"
_PERFUSION = "a map of perfusion, not Hounsfield units"

_PHRASES = {
    "SCREEN SAVE": "a picture of a screen",
    "DOSE INFO": "a page of dose values",
    "PATIENT PROTOCOL": "a page of the protocol",
    "CSA REPORT": "a page of a report",
    "PROJECTION IMAGE": _PROJECTION,
    "MAX IP": _PROJECTION,
    "MIN IP": _PROJECTION,
    "VOLUME RENDER": _RENDERING,
    "VOLUME RENDERING": _RENDERING,
    "SURFACE RENDER": _RENDERING,
    "EFF ATOMIC NUM": _MATERIAL,
    "ELECTRON DENSITY": _MATERIAL,
    "MAT SPECIFIC": _MATERIAL,
    "MAT REMOVED": _MATERIAL,
    "MAT FRACTIONAL": _MATERIAL,
    "MAT VALUE BASED": _MATERIAL,
    "STD DEVIATION": _DIFFERENCE,
}
_WORDS = {
    **dict.fromkeys(
        ("LOCALIZER", "TOPOGRAM", "SCOUT", "SURVIEW", "SCANOGRAM", "SCANOSCOPE"), _LOCALIZER
    ),
    **dict.fromkeys(
        ("MIP", "MINIP", "MAXIP", "MAXIMUM", "MINIMUM", "THICKMIP", "RAYSUM"), _PROJECTION
    ),
    **dict.fromkeys(("VRT", "SSD", "3D", "ENDOSCOPIC"), _RENDERING),
    **dict.fromkeys(
        (
            *("IODINE", "CALCIUM", "WATER", "FAT", "URIC", "VNC", "ZEFF", "RHO"),
            *("RHOZ", "EFFZ", "OVERLAYIODINE"),
        ),
        _MATERIAL,
    ),
    **dict.fromkeys(("SUBTRACTION", "SUBTRACTED", "DIVISION"), _DIFFERENCE),
    **dict.fromkeys(("PERFUSION", "CBF", "CBV", "MTT", "TTP", "TMAX", "PBV"), _PERFUSION),
}
"""Values of ImageType (PS3.3 C.8.2.1.1.1, C.8.16.1.3 and makers' own) of CT objects that are no
slices of Hounsfield units, as phrases and as words within a value."""

_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
"""Transfer syntaxes that always lose; JPEG 2000 of its general one may lose nothing."""

BODY_PARTS = frozenset(
    (
        *("ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ARM", "BRAIN", "CHEST", "CHESTABDOMEN"),
        *("CHESTABDPELVIS", "CSPINE", "EAR", "ELBOW", "EXTREMITY", "EYE", "FACE", "FOOT", "HAND"),
        *("HEAD", "HEADNECK", "HEART", "HIP", "JAW", "KNEE", "LEG", "LIVER", "LSPINE", "LUNG"),
        *("MAXILLA", "MANDIBLE", "NECK", "NECKCHEST", "ORBIT", "PELVIS", "SHOULDER", "SINUS"),
        *("SKULL", "SPINE", "TEMPORALBONE", "THORAX", "TSPINE", "WHOLEBODY", "WRIST"),
    )
)
"""Values of BodyPartExamined (PS3.16 annex L) that are shown; other texts might name a person."""

NO_LUNGS = frozenset(
    (
        *("ANKLE", "ARM", "BRAIN", "EAR", "ELBOW", "EXTREMITY", "EYE", "FACE", "FOOT", "HAND"),
        *("HEAD", "HEADNECK", "HIP", "JAW", "KNEE", "LEG", "MANDIBLE", "MAXILLA", "ORBIT"),
        *("PELVIS", "SINUS", "SKULL", "TEMPORALBONE", "WRIST"),
    )
)
"""Those in which no whole lung is."""


def is_secondary_capture(storage: str) -> bool:
    """Whether a storage class is one of secondary captures (PS3.6 annex A)."""
    return storage == _SECONDARY_CAPTURE or storage.startswith(f"{_SECONDARY_CAPTURE}.")


def why_no_slice(image_type: str) -> str:
    """Why an image of this ImageType is no slice of Hounsfield units; empty if it is one.

    Args:
        image_type: Its values, with backslashes between them.
    """
    for value in image_type.upper().split("\\"):
        words = re.findall(r"[A-Z0-9]+", value)
        phrase = " ".join(words)
        for known, reason in _PHRASES.items():
            if f" {known} " in f" {phrase} ":
                return reason
        for word in words:
            if word in _WORDS:
                return _WORDS[word]
    return ""


def body_part(text: str) -> str:
    """A body part of the list, or an empty text."""
    letters = "".join(re.findall(r"[A-Z]+", text.upper()))
    return letters if letters in BODY_PARTS else ""


def loss(stated: str, ratios: Iterable[object], syntax: str) -> str:
    """How an image says that it was compressed with loss; empty if it does not.

    Args:
        stated: LossyImageCompression (PS3.3 C.7.6.1.1.5).
        ratios: LossyImageCompressionRatio.
        syntax: TransferSyntaxUID.
    """
    if stated.strip() != "01" and syntax not in _LOSSY:
        return ""
    numbers = [number for number in map(_number, ratios) if number > 1]
    return f"{max(numbers):g} to 1" if numbers else "unstated ratio"


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0
