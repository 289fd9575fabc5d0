"""One file and its copy: read, cleaned, written under a name that tells nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from pathlib import Path
from typing import Literal

from pydicom import Dataset
from pydicom.pixels.utils import get_expected_length

from moekit import DataError, MoekitError, StorageError
from moekit.files import atomic_path
from moekit_medical.deidentification.echoes import empty_echoes
from moekit_medical.deidentification.files import is_index
from moekit_medical.dicom.kinds import is_secondary_capture
from moekit_medical.dicom.persons import Stated, person_of
from moekit_medical.dicom.reading import describe, read
from moekit_medical.dicom.sources import Source
from moekit_medical.dicom.verdict import SetAsideError
from moekit_medical.findings.deidentify import deidentify_followed
from moekit_medical.findings.quiet import READ_ERRORS
from moekit_medical.findings.unused_bits import are_unseen
from moekit_medical.privacy import token

State = Literal["written", "already there", "duplicate", "left out"]

_NAME_DIGITS = 32
_CHUNK = 2**20
_LATEST = 50
"""Files of one series lie together, so that what they say is among the latest."""
_OFTEN_ANNOTATED = frozenset(("DOC", "ES", "GM", "IVUS", "OT", "SC", "SM", "US", "XC"))

_PIXELS = {"PixelData": 0, "FloatPixelData": 4, "DoubleFloatPixelData": 8}
"""The kinds of pixels, and the bytes of a float."""

UNSTATED = "does not say whether it has burned-in annotation"
LIKELY = "is of a kind that often has burned-in annotation, and does not say that it has none"
FACE = "says that its pixels show recognizable features, which stay"
TRAILING = "has bytes after its pixels, which stay"
ECHO = "repeated an identifying value in a text that is otherwise kept; the text was emptied"
CUT = "its pixel data end too early"
SEVERAL = "it holds pixels of several kinds, and an image has one"
FLOATS = "its transfer syntax compresses pixels, which floats are not"
BITS = "had something in bits that hold no part of a pixel; they were cleared"
TEXTS = "had something next to its compressed pixels, such as comments; it was removed"
UNSEEN = (
    "has compressed pixels whose unused bits, which may hold an overlay, could not be looked at"
)
UNFOLLOWED = (
    "has compressed pixels that could not be followed to their end; what lies next to them, such "
    "as comments, stays"
)
NO_PIXELS = "is no image, and lost most of its content"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one file.

    Attributes:
        file: Its token.
        state: Of a `duplicate` the same bytes were met before in this call.
        copy: Path of the copy below the output folder; empty without one.
        reason: Why it was left out; empty else.
        kept: Elements at the top level that are in the copy as they were; None if it was not
            made in this call, as of the next two.
        changed: Those that were emptied or replaced, or in whose items something was.
        removed: Those that are not in the copy.
        warnings: What the profile does not see to.
    """

    file: str
    state: State
    copy: str = ""
    reason: str = ""
    kept: int | None = None
    changed: int | None = None
    removed: int | None = None
    warnings: tuple[str, ...] = ()


def make_copy(
    source: Source, out: Path, *, salt: bytes, seen: set[str], stated: list[Stated]
) -> Outcome:
    """De-identifies one file; call it inside `quiet`.

    The copy lies at STUDY/SERIES/FILE.dcm, all of them salted hashes, the last one of the file's
    bytes: so a copy that is there is never another one, and is left alone.

    Args:
        source: The file.
        out: The output folder.
        salt: Secret of the call.
        seen: Copies of this call so far; the new one is added.
        stated: What the files of this call say of whom they show; what is new is added.

    Raises:
        StorageError: The copy cannot be written.
    """
    try:
        header = read(source, pixels=False)
        _check(header)
        copy = _place(header, source, salt)
        person = Stated.of(
            str(header.get("SeriesInstanceUID") or ""),
            person_of(header),
            salt=salt,
            patient=str(header.get("PatientID") or "").strip(),
        )
        if person not in stated[-_LATEST:]:
            stated.append(person)
        warnings = _warnings(header)
        if copy in seen:
            return Outcome(file=source.token, state="duplicate", copy=copy)
        if (out / copy).exists():
            seen.add(copy)
            return Outcome(file=source.token, state="already there", copy=copy, warnings=warnings)
        original = read(source, pixels=True)
        if any(tag not in original for tag in header.keys()):  # noqa: SIM118 - tags only
            raise SetAsideError(CUT)
        warnings += _warnings_of_pixels(original)
        cleaned, is_followed = deidentify_followed(original, salt=salt)
        if not is_followed:
            warnings += (UNFOLLOWED,)
        if empty_echoes(cleaned, original):
            warnings += (ECHO,)
        if cleaned.get("PixelData") != original.get("PixelData"):
            syntax = original.file_meta.get("TransferSyntaxUID")
            is_compressed = syntax is not None and syntax.is_encapsulated
            warnings += (TEXTS if is_compressed else BITS,)
        kept, changed, removed = _compare(original, cleaned)
        _write(out / copy, cleaned)
    except StorageError:
        raise
    except SetAsideError as aside:
        return Outcome(file=source.token, state="left out", reason=aside.reason)
    except MoekitError as error:
        return Outcome(file=source.token, state="left out", reason=error.what)
    except Exception as error:  # libraries raise anything, and quote values
        reason = f"unreadable: {describe(error)}"
        return Outcome(file=source.token, state="left out", reason=reason)
    seen.add(copy)
    return Outcome(
        file=source.token,
        state="written",
        copy=copy,
        kept=kept,
        changed=changed,
        removed=removed,
        warnings=warnings,
    )


def _check(header: Dataset) -> None:
    if is_index(header):
        raise SetAsideError("a DICOMDIR, an index of names; the files in its folder need none")
    for keyword, what in (("SOPClassUID", "storage class"), ("SOPInstanceUID", "SOPInstanceUID")):
        if not str(header.get(keyword) or "").strip():
            raise SetAsideError(f"DICOM without {what}")


def _place(header: Dataset, source: Source, salt: bytes) -> str:
    digest = hmac.new(salt, digestmod=hashlib.sha256)
    with source.open() as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    folders = (
        token(str(header.get(keyword) or ""), salt=salt)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID")
    )
    return "/".join((*folders, f"{digest.hexdigest()[:_NAME_DIGITS]}.dcm"))


def _warnings(header: Dataset) -> tuple[str, ...]:
    if "Rows" not in header:
        return (NO_PIXELS,)
    found: list[str] = []
    if str(header.get("BurnedInAnnotation") or "").strip().upper() not in ("NO", "YES"):
        is_likely = str(header.get("Modality") or "") in _OFTEN_ANNOTATED or (
            is_secondary_capture(str(header.get("SOPClassUID")))
        )
        found.append(LIKELY if is_likely else UNSTATED)
    if str(header.get("RecognizableVisualFeatures") or "").strip().upper() == "YES":
        found.append(FACE)
    return tuple(found)


def _warnings_of_pixels(original: Dataset) -> tuple[str, ...]:
    """Whether native pixel data are as long as they say (PS3.5 8.1.1).

    Raises:
        SetAsideError: They are shorter, or there are several kinds of them, of which an image has
            one (PS3.3 C.7.6.3).
    """
    syntax = original.file_meta.get("TransferSyntaxUID")
    kinds = [keyword for keyword in _PIXELS if keyword in original]
    if len(kinds) > 1:
        raise SetAsideError(SEVERAL)
    if not kinds or syntax is None:
        return ()
    if syntax.is_encapsulated:
        if kinds != ["PixelData"]:
            raise SetAsideError(FLOATS)
        return (UNSEEN,) if are_unseen(original) else ()
    if syntax.is_compressed:
        return ()
    expected = _expected_length(original, kinds[0])
    if expected is None:
        return ()
    there = len(original[kinds[0]].value or b"")
    if there < expected:
        raise SetAsideError(CUT)
    return (TRAILING,) if there > expected + expected % 2 else ()


def _expected_length(original: Dataset, kind: str) -> int | None:
    """Bytes that the pixels have by the header; None of a file that gives its rows as a text."""
    try:
        if kind == "PixelData":
            expected: object = get_expected_length(original)
        else:
            frames = int(original.get("NumberOfFrames") or 1)
            samples = int(original.get("SamplesPerPixel") or 1)
            values = int(original.Rows) * int(original.Columns) * frames * samples
            expected = values * _PIXELS[kind]
    except READ_ERRORS:
        return None
    return expected if isinstance(expected, int) else None


def _compare(original: Dataset, cleaned: Dataset) -> tuple[int, int, int]:
    """How many elements of the original were kept, changed and removed."""
    there = [tag for tag in original.keys() if tag in cleaned]  # noqa: SIM118 - tags only
    kept = sum(_is_same(original, cleaned, tag) for tag in there)
    return kept, len(there) - kept, len(original) - len(there)


def _is_same(original: Dataset, cleaned: Dataset, tag: int) -> bool:
    try:
        return bool(original[tag].value == cleaned[tag].value)
    except READ_ERRORS:
        return False


def _write(path: Path, cleaned: Dataset) -> None:
    try:
        with atomic_path(path) as temporary:
            cleaned.save_as(temporary, enforce_file_format=True)
    except StorageError as error:
        raise StorageError(
            error.what, whose="the output folder", fix=error.fix, code=error.code
        ) from None
    except (*READ_ERRORS, RecursionError) as error:
        raise DataError(
            f"a copy cannot be encoded ({type(error).__name__})",
            whose="an image to de-identify",
            fix="leave the image out",
            code="data/cannot-encode",
        ) from None
