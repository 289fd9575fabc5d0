"""The files to de-identify: below a folder, in an archive, or those that a DICOMDIR lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import MediaStorageDirectoryStorage

from moekit_medical.dicom.reading import quiet, read
from moekit_medical.dicom.sources import Archives, Source, find_sources
from moekit_medical.dicom.verdict import Ignored, SetAsideError
from moekit_medical.privacy import token

Found = tuple[list[Source], list[Ignored]]


def find_files(path: Path, *, salt: bytes, archives: Archives) -> Found:
    """The files at a path, and what cannot be looked into.

    A DICOMDIR (PS3.10 8.6) that is named itself stands for the files that it lists; one that is met
    in a folder is a file among others.

    Args:
        path: A file, a zip archive, a folder or a DICOMDIR.
        salt: For the names of files in messages.
        archives: Must stay open while the files are read.

    Raises:
        DataError: There is nothing at the path.
    """
    sources, ignored = find_sources(path, salt=salt, archives=archives)
    if len(sources) == 1 and path.is_file():
        index = _read_index(sources[0])
        if index is not None:
            return _listed(index, path.parent, salt=salt, archives=archives)
    return list(sources), list(ignored)


def is_index(dataset: Dataset) -> bool:
    """Whether a data set is a DICOMDIR."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    classes = (dataset.get("SOPClassUID"), meta.get("MediaStorageSOPClassUID"))
    return MediaStorageDirectoryStorage in classes or "DirectoryRecordSequence" in dataset


def _read_index(source: Source) -> list[tuple[str, ...]] | None:
    """What a DICOMDIR lists, as parts of paths; None of another file."""
    with quiet():
        try:
            dataset = read(source, pixels=False)
            if not is_index(dataset):
                return None
            return [
                parts
                for record in dataset.get("DirectoryRecordSequence", [])
                for parts in [_parts(record.get("ReferencedFileID"))]
                if parts
            ]
        except SetAsideError:
            return None
        except Exception:  # malformed; it is then left out as any file that cannot be read
            return None


def _parts(value: object) -> tuple[str, ...]:
    if isinstance(value, (MultiValue, list, tuple)):
        return tuple(str(part) for part in value)
    return (str(value),) if value else ()


def _listed(
    index: list[tuple[str, ...]], folder: Path, *, salt: bytes, archives: Archives
) -> Found:
    sources: list[Source] = []
    ignored: list[Ignored] = []
    for parts in dict.fromkeys(index):
        name = token(str(Path(folder, *parts)), salt=salt)
        path = _locate(folder, parts)
        if path is None:
            reason = "listed by the DICOMDIR and not in its folder"
            ignored.append(Ignored(file=name, reason=reason))
            continue
        found, aside = find_sources(path, salt=salt, archives=archives)
        sources.extend(found)
        ignored.extend(aside)
    return sources, ignored


def _locate(folder: Path, parts: tuple[str, ...]) -> Path | None:
    """The file of that name below a folder, in upper or lower case; never one outside of it."""
    path = folder
    for part in parts:
        if part in ("", ".", "..") or Path(part).name != part:
            return None
        named = path / part
        path = named if named.exists() else next(_in_another_case(path, part), named)
    is_inside = path.resolve().is_relative_to(folder.resolve())
    return path if is_inside and path.is_file() else None


def _in_another_case(folder: Path, name: str) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.name.lower() == name.lower())
