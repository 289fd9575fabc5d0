"""Looks through a folder of DICOM files before any pixel is decoded: hashes, series, places."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import cast

from pydicom.dataset import FileDataset

from moekit import DataError
from moekit.outputs import kind_of_output
from moekit_medical.dicom.persons import Stated, find_doubts
from moekit_medical.dicom.reading import quiet, read
from moekit_medical.dicom.slices import Slice, slices_of
from moekit_medical.dicom.sources import OUTPUT, Archives, Source, find_sources, output_words
from moekit_medical.dicom.verdict import SetAsideError
from moekit_medical.loaders.labels import TABLE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """A part of the folder that shares no series with the rest, so it can be read alone.

    Attributes:
        path: What to assemble.
        hashes: SHA-256 of each file, sorted: the volumes do not depend on names or order.
        series: SeriesInstanceUIDs.
    """

    path: Path
    hashes: tuple[str, ...]
    series: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a folder holds.

    Attributes:
        units: They share no series.
        studies: StudyInstanceUIDs by series.
        patients: PatientIDs by series; never shown, only compared.
        stated: What each series says of whom it shows, each once; never shown.
        slices: The slices of each SOPInstanceUID that was asked for.
        facts: What the slices of each series state, each set of facts once.
        outputs: What each folder is that moekit wrote, in words; they are left out.
    """

    units: tuple[Unit, ...]
    studies: dict[str, set[str]]
    patients: dict[str, set[str]]
    stated: dict[str, list[Stated]]
    slices: dict[str, list[Slice]]
    facts: dict[str, set[tuple[tuple[str, str], ...]]]
    outputs: list[str] = dataclasses.field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on folders that moekit wrote; their names may be private."""
        if not self.outputs:
            return ()
        kinds = ", ".join(sorted(set(self.outputs)))
        return (f"{len(self.outputs)} of the folders below are left out: {kinds}",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Companion:
    """A DICOM file that holds no slices of a series, such as a segmentation.

    Attributes:
        dataset: Without pixels.
        entry: The entry of the folder below which it lies.
        token: Of its source.
        digest: SHA-256 of the file.
    """

    dataset: FileDataset = dataclasses.field(repr=False)
    entry: Path = dataclasses.field(repr=False)
    token: str
    digest: str


def _no_visit(companion: Companion) -> None:
    del companion


def look_through(
    folder: Path,
    *,
    salt: bytes,
    sops: Collection[str],
    visit: Callable[[Companion], None] = _no_visit,
) -> Found:
    """Reads the header of every file below a folder.

    Each entry of the folder that shares no series with another entry becomes a unit, so that only
    the volumes of one entry need be in memory at once; otherwise the folder is one unit.

    Args:
        folder: Of any layout. Links to folders are not followed.
        salt: For tokens.
        sops: SOPInstanceUIDs whose slices to keep.
        visit: Called with each DICOM file that holds no slices; what it raises is kept in.

    Raises:
        DataError: The folder cannot be listed.
    """
    found = Found(units=(), studies={}, patients={}, stated={}, slices={}, facts={})
    units = []
    for entry in _entries(folder):
        if entry.is_dir() and (kind := kind_of_output(entry)):
            found.outputs.append(output_words(kind))
        else:
            units.append(_look(entry, salt, sops, found, visit))
    names = [name for unit in units for name in unit.series]
    if len(set(names)) < len(names):
        hashes = tuple(sorted(digest for unit in units for digest in unit.hashes))
        units = [Unit(path=folder, hashes=hashes, series=frozenset(names))]
    return dataclasses.replace(found, units=tuple(units))


def _entries(folder: Path) -> list[Path]:
    try:
        return [
            entry
            for entry in sorted(folder.iterdir())
            if entry.name != TABLE
            and entry.exists()
            and not (entry.is_symlink() and entry.is_dir())
        ]
    except OSError as error:
        raise DataError(
            f"the folder cannot be listed ({error.strerror or type(error).__name__})",
            whose="the folder given",
            fix="check that it is a folder and may be read",
            code="data/unreadable",
        ) from None


def _look(
    entry: Path,
    salt: bytes,
    sops: Collection[str],
    found: Found,
    visit: Callable[[Companion], None],
) -> Unit:
    hashes: list[str] = []
    series: set[str] = set()
    with contextlib.closing(Archives()) as archives, quiet():
        sources, ignored = find_sources(entry, salt=salt, archives=archives)
        found.outputs.extend(one.reason for one in ignored if one.reason.startswith(OUTPUT))
        for source in sources:
            digest = ""
            # What cannot be read takes no part.
            with contextlib.suppress(Exception), source.open() as file:
                content = cast(io.BufferedReader, file)
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                hashes.append(digest)
            for one in _slices(source, entry, digest, visit):
                series.add(one.series_uid)
                found.studies.setdefault(one.series_uid, set()).add(one.study_uid)
                found.patients.setdefault(one.series_uid, set()).add(one.patient)
                _state(one, found, salt)
                found.facts.setdefault(one.series_uid, set()).add(one.facts)
                if one.sop_uid in sops:
                    found.slices.setdefault(one.sop_uid, []).append(one)
    return Unit(path=entry, hashes=tuple(sorted(hashes)), series=frozenset(series))


def _state(one: Slice, found: Found, salt: bytes) -> None:
    known = found.stated.setdefault(one.series_uid, [])
    new = Stated.of(
        one.series_uid, one.person, salt=salt, patient=one.patient, study_uid=one.study_uid
    )
    if new not in known:
        known.append(new)


def check_shared_ids(found: Found, series: Iterable[str], *, fix: str) -> tuple[str, ...]:
    """Refuses series of which two are put together by an identifier that two persons share.

    Args:
        found: Of the folder.
        series: The SeriesInstanceUIDs that are used, in a fixed order.
        fix: What to do about it.

    Returns:
        Sentences on names that differ if the birth date does not.

    Raises:
        DataError: Birth dates or sexes differ, or names do and no birth date says that it is one
            person.
    """
    doubts = find_doubts(one for name in series for one in found.stated.get(name, ()))
    for doubt in doubts:
        if doubt.is_another:
            raise DataError(
                doubt.in_words(), whose="the DICOM files", fix=fix, code="data/several-patients"
            )
    return tuple(doubt.in_words() for doubt in doubts)


def _slices(
    source: Source, entry: Path, digest: str, visit: Callable[[Companion], None]
) -> tuple[Slice, ...]:
    """The slices in a file, none if it takes no part; the assembler says why."""
    with contextlib.suppress(Exception):
        dataset = read(source, pixels=False)
        try:
            return slices_of(dataset, source)
        except SetAsideError:
            visit(Companion(dataset=dataset, entry=entry, token=source.token, digest=digest))
    return ()
