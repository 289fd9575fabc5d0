"""What all ways to read whole series refuse, and how they tell of a series that failed."""

from __future__ import annotations

import os
from pathlib import Path

from moekit import DataError, StorageError, UsageError

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
