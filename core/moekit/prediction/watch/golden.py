"""Golden images: whether model and machine still compute what they did.

The line keeps a folder of fixed images, good and bad. Their scores are written down at first use
and computed again at every later start, one image a forward pass, so that no other image has a part
in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydantic

from moekit.data.images import relative_id
from moekit.data.survey import survey_folder
from moekit.errors import DataError, MoekitError, UsageError
from moekit.files import sha256
from moekit.runs.facts import machine, now, versions
from moekit.runs.schema import first_fault
from moekit.sealed import read_sealed, write_sealed

SCHEMA = 1
TOLERANCE = 1e-4
"""Largest difference of a score that counts as noise of float arithmetic."""
_NAMED = 5


class GoldenSet:
    """The golden images and where their scores are kept.

    Args:
        folder: The images.
        record: The file with their scores; made if it is not there.
        provenance: What the scores depend on.
        measure: The number by which an image is watched.
        tolerance: Largest difference of a score that is no failure.

    Raises:
        DataError: There is no image, or one cannot be read.
        UsageError: The scores were made with another run, backbone or precision.
    """

    def __init__(
        self,
        folder: Path,
        *,
        record: Path,
        provenance: Mapping[str, Any],
        measure: Callable[[Path], float],
        tolerance: float = TOLERANCE,
    ) -> None:
        self._record, self._provenance = record, dict(provenance)
        self._measure, self._tolerance = measure, tolerance
        self._paths = {relative_id(path, folder): path for path in survey_folder(folder).pictures}
        if not self._paths:
            raise DataError(
                "there is no golden image",
                whose=str(folder),
                fix="put some there, good and bad",
                code="data/no-image",
            )
        self._known: dict[str, Any] | None = _read(record) if record.exists() else None
        if self._known is not None and self._known["made_with"] != self._provenance:
            raise UsageError(
                "the golden scores were made with another run, backbone or precision",
                whose=str(record),
                fix="choose another --out, or delete the file to begin again",
                code="usage/other-run",
            )

    def check(self) -> dict[str, Any]:
        """Scores the images and compares them with what is written down, or writes it down.

        Returns:
            JSON-ready: the number of images, the greatest difference, the tolerance, when it was
            checked and when the scores were made.

        Raises:
            DataError: An image cannot be read.
            MoekitError: An image was added, changed or removed, or a score differs by more than
                the tolerance.
            StorageError: The scores cannot be written.
        """
        found = {
            name: {"sha256": sha256(path), "score": self._measure(path)}
            for name, path in self._paths.items()
        }
        if self._known is None:
            self._known = {
                "schema": SCHEMA,
                "created": now(),
                "made_with": self._provenance,
                "machine": machine(),
                "versions": versions(),
                "images": found,
            }
            self._known = write_sealed(self._record, self._known)
        known = self._known["images"]
        self._refuse_changes(found, known)
        moved = {name: abs(found[name]["score"] - known[name]["score"]) for name in found}
        wrong = sorted((name for name in moved if not moved[name] <= self._tolerance), key=str)
        if wrong:
            told = ", ".join(
                f"{name} ({known[name]['score']:.6f}, now {found[name]['score']:.6f})"
                for name in wrong[:_NAMED]
            )
            raise MoekitError(
                "the model or machine no longer computes what it did: the scores of "
                f"{len(wrong)} of {len(found)} golden images differ by more than "
                f"{self._tolerance:g}: {told}{_more(wrong)}",
                whose=str(self._record),
                fix="compare machine and versions in the file with those of now; if the change was "
                "meant, delete the file to begin again",
                code="error/golden-scores",
            )
        return {
            "n": len(found),
            "greatest_difference": max(moved.values()),
            "tolerance": self._tolerance,
            "checked": now(),
            "created": self._known["created"],
        }

    def _refuse_changes(self, found: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        wrong = sorted(
            name
            for name in {*found, *known}
            if found.get(name, {}).get("sha256") != known.get(name, {}).get("sha256")
        )
        if wrong:
            raise MoekitError(
                f"the golden images are not those that were scored: {len(wrong)} were added, "
                f"changed or removed: {', '.join(wrong[:_NAMED])}{_more(wrong)}",
                whose=str(self._record),
                fix="restore them, or delete the file to begin again",
                code="error/golden-images",
            )


class _Image(pydantic.BaseModel):
    sha256: str
    score: float


class _Known(pydantic.BaseModel):
    """What golden.json must hold."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True)

    created: str
    made_with: dict[str, Any]
    images: dict[str, _Image]


def _read(record: Path) -> dict[str, Any]:
    content = read_sealed(record)
    try:
        _Known.model_validate(content)
    except pydantic.ValidationError as error:
        raise DataError(
            f"the golden scores are damaged: {first_fault(error)}",
            whose=str(record),
            fix="restore the file, or delete it to begin again",
            code="data/damaged-run",
        ) from error
    known: dict[str, Any] = content
    return known


def _more(names: list[str]) -> str:
    return ", ..." if len(names) > _NAMED else ""
