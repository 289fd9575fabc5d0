"""What all ways to read whole series refuse, and how they report a series that failed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from moekit import DataError, StorageError, UsageError
from moekit_medical.dicom.verdict import Ignored, Refusal

_MOST_TOLD = 3

ANSWERING = "scoring"
"""The stage in which a model answers; its errors may hold anything."""


class BadAnswersError(Exception):
    """What a model gave cannot be used; the text is fixed."""


def reason_of(stage: str, error: Exception) -> str:
    """Why a series failed, without the text of errors that may hold a name or a path.

    Args:
        stage: What was done, such as "writing"; `ANSWERING` while the model answers.
        error: What was raised.
    """
    if isinstance(error, BadAnswersError) or (isinstance(error, DataError) and stage != ANSWERING):
        return f"{stage} failed: {error.args[0]}"
    if isinstance(error, StorageError):
        return f"{stage} failed: a file could not be written or removed"
    if isinstance(error, MemoryError):
        return f"{stage} failed: it needs more memory than there is"
    return f"{stage} failed ({type(error).__name__})"


def check_some_usable(
    usable: int,
    *,
    failed: Sequence[str],
    refused: Sequence[Refusal],
    ignored: Sequence[Ignored],
    record: str,
) -> None:
    """Checks that at least one series could be used, once all is recorded.

    Args:
        usable: How many series could.
        failed: Why series failed.
        refused: Series that could not be made into a volume.
        ignored: Files that take no part in any series.
        record: Name of the file that holds the reasons of each.

    Raises:
        DataError: There was none; the most frequent reasons are named.
    """
    if usable:
        return
    reasons = Counter([*failed, *(one.reason for one in refused), *(one.reason for one in ignored)])
    told = "; ".join(f"{reason} ({number})" for reason, number in reasons.most_common(_MOST_TOLD))
    raise DataError(
        f"none of the series could be used: {len(refused)} refused, {len(failed)} failed, and"
        f" {len(ignored)} files are of none: {told or 'the folder holds no file'}",
        whose="the input of moekit predict medical",
        fix=f"see {record} in the output folder, and give CT series as DICOM, or one NIfTI file",
        code="data/no-usable-series",
    )


def check_places(inputs: Path, *, out: Path, salt: bytes) -> None:
    """Checks that there is a salt and that outputs do not become inputs.

    Raises:
        UsageError: The salt is empty, or the output folder lies within the input.
    """
    if not salt:
        raise UsageError(
            "names of files and series need a salt",
            whose="salt",
            fix="give random bytes, such as those of secrets.token_bytes(32), and keep them secret",
            code="usage/no-salt",
        )
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(inputs)):
        raise UsageError(
            "the output folder lies within the input",
            whose="out",
            fix="choose a folder elsewhere, so that results are not read as input the next time",
            code="usage/nested-folders",
        )
