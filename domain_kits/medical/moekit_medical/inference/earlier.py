"""What an earlier call left in an output folder of series that this call was not given.

Their files would lie next to new ones as if they belonged to the same input.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit import DataError
from moekit.files import read_json, write_json
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.inference.outputs import FILES, clear

_TOKEN = re.compile(r"[0-9a-f]+(-\d+)?")


def begin_summary(path: Path, provenance: Mapping[str, Any]) -> None:
    """Marks an output folder before its first file is written, so that a cut call is known again.

    Raises:
        StorageError: It cannot be written.
    """
    if not path.exists():
        begun = {"disclaimer": DISCLAIMER, "settings": {}, "provenance": dict(provenance)}
        write_json(path, {**begun, "series": []})


def series_of(record: Path) -> set[str]:
    """The tokens of the series that a record of an earlier call names; none if there is none."""
    names: set[str] = set()
    with contextlib.suppress(DataError, KeyError, TypeError):
        names = {str(one["series"]) for one in read_json(record)["series"]}
    return {name for name in names if _TOKEN.fullmatch(name)}


def remove_series(
    out: Path, names: Iterable[str], *, files: Sequence[str] = FILES
) -> dict[str, int]:
    """Removes the files of series; returns how many, for the summary, or nothing if there are none.

    Args:
        out: The output folder.
        names: Tokens of the series.
        files: Names of the files of each.

    Raises:
        StorageError: They cannot be removed.
    """
    there = [name for name in sorted(names) if (out / name).is_dir()]
    for name in there:
        clear(out / name, files=files)
    return {"removed of earlier inputs": len(there)} if there else {}
