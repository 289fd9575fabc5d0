"""Files that are the same to the byte under several names."""

from __future__ import annotations

from collections.abc import Iterable

from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.files import sha256


def find_twins(samples: Iterable[Sample], *, whose: str) -> dict[str, Sample]:
    """For the id of each sample whose file an earlier one has too, that earlier one.

    Only files of the same length are hashed.

    Raises:
        DataError: A file cannot be read.
    """
    by_length: dict[int, list[Sample]] = {}
    first: dict[str, Sample] = {}
    twins: dict[str, Sample] = {}
    try:
        for sample in samples:
            by_length.setdefault(sample.path.stat().st_size, []).append(sample)
        for sample in (one for many in by_length.values() if len(many) > 1 for one in many):
            twin = first.setdefault(sha256(sample.path), sample)
            if twin is not sample:
                twins[sample.id] = twin
    except OSError as error:
        raise DataError(
            f"a file cannot be read ({error.strerror or error})",
            whose=str(error.filename or whose),
            fix="check the disk and the file's permissions, or leave it out",
            code="data/unreadable",
        ) from error
    return twins
