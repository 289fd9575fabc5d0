"""What was given to be scored: DICOM series at a path, or one NIfTI file."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom

from moekit import DataError
from moekit_medical.dicom.assemble import assemble
from moekit_medical.dicom.reading import quiet, read
from moekit_medical.dicom.slices import AN_INDEX
from moekit_medical.dicom.sources import Archives, Source, find_sources
from moekit_medical.dicom.verdict import Assembly
from moekit_medical.inference.volumes import is_nifti, read_nifti
from moekit_medical.privacy import token
from moekit_medical.volume import Volume


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A volume to score.

    Attributes:
        name: Token of its SeriesInstanceUID; with a number if one series has several parts.
        volume: The volume.
        files: Tokens of the DICOM files that it was made from; none for NIfTI.
    """

    name: str
    volume: Volume
    files: tuple[str, ...]

    @functools.cached_property
    def content(self) -> str:
        """SHA-256 of the voxels in HU and of where they lie; uids and names take no part."""
        digest = hashlib.sha256(repr(self.volume.hu_DHW.shape).encode())
        digest.update(np.ascontiguousarray(self.volume.hu_DHW, dtype=np.float32).data)
        digest.update(np.ascontiguousarray(self.volume.affine, dtype=np.float64).data)
        return digest.hexdigest()


def read_inputs(
    path: Path, *, salt: bytes, progress: Callable[[int, int], None]
) -> tuple[Assembly, tuple[Series, ...]]:
    """Reads what lies at a path.

    A NIfTI file does not say what it shows, so it is taken for CT only if it is named itself;
    in a folder it is left aside as any file that is not DICOM.

    Args:
        path: A file, a zip archive or a folder at any depth.
        salt: Secret of this run.
        progress: Called with the steps done and their total.

    Raises:
        DataError: There is nothing at the path, it is a NIfTI file that cannot be used, or a
            DICOMDIR.
    """
    if path.is_file() and is_nifti(path):
        volume = read_nifti(path, salt=salt)
        assembly = Assembly(volumes=(volume,), refused=(), ignored=(), used=((),))
    else:
        assembly = assemble(path, salt=salt, progress=progress)
        _check_no_index(path, assembly, salt)
    return assembly, tuple(_named(assembly, salt))


def _check_no_index(path: Path, assembly: Assembly, salt: bytes) -> None:
    if path.is_file() and any(one.reason == AN_INDEX for one in assembly.ignored):
        raise DataError(
            "this is a DICOMDIR, an index of files and none of them",
            whose=f"file {token(os.path.abspath(path), salt=salt)}",  # noqa: PTH100
            fix="name the folder in which it lies; all files below it are read",
            code="data/dicomdir",
        )


def _named(assembly: Assembly, salt: bytes) -> Iterator[Series]:
    names = [token(volume.series_uid, salt=salt) for volume in assembly.volumes]
    seen: dict[str, int] = {}
    for name, volume, files in zip(names, assembly.volumes, assembly.used, strict=True):
        seen[name] = seen.get(name, 0) + 1
        several = names.count(name) > 1
        yield Series(name=f"{name}-{seen[name]}" if several else name, volume=volume, files=files)


class Headers:
    """Finds again the headers of the slices that volumes were made from; close it after use."""

    def __init__(self, path: Path, *, salt: bytes) -> None:
        self._path, self._salt = path, salt
        self._archives = Archives()
        self._sources: dict[str, Source] | None = None

    def __enter__(self) -> Headers:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._archives.close()

    def of(self, series: Series) -> list[pydicom.Dataset]:
        """The headers, without pixels, of the slices that a volume names.

        Raises:
            SetAsideError: A file can no longer be read.
            KeyError: A file is no longer there.
        """
        if self._sources is None:
            found, _ = find_sources(self._path, salt=self._salt, archives=self._archives)
            self._sources = {source.token: source for source in found}
        with quiet():
            headers = [read(self._sources[name], pixels=False) for name in series.files]
        return _only(series.volume, headers)


def _only(volume: Volume, headers: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """The headers that belong to a volume: its series, without a second copy of a slice."""
    kept: dict[str, pydicom.Dataset] = {}
    for header in headers:
        if header.get("SeriesInstanceUID") == volume.series_uid:
            kept.setdefault(str(header.get("SOPInstanceUID")), header)
    return list(kept.values())
