"""What became of the files given: volumes, refused series and files left aside."""

from __future__ import annotations

import dataclasses

from moekit_medical.dicom.persons import Doubt
from moekit_medical.volume import Volume


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A series, or a part of one, that cannot be made into a volume.

    Attributes:
        series: Token of its SeriesInstanceUID.
        reason: Why, in one sentence.
        fix: What the reader can do about it.
        files: Tokens of its files, sorted.
        code: Which failure it is, as in `moekit.errors`.
    """

    series: str
    reason: str
    fix: str
    files: tuple[str, ...]
    code: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ignored:
    """A file that takes no part in any series.

    Attributes:
        file: Its token.
        reason: Why, in one sentence.
    """

    file: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assembly:
    """Every file given, in exactly one of `used`, `refused` and `ignored`.

    Attributes:
        volumes: Sorted by SeriesInstanceUID, then by place.
        refused: Sorted by series.
        ignored: Sorted by file.
        used: For each volume the tokens of the files it was made from, sorted.
        doubts: Series that share a PatientID or a study and differ in whom they show.
    """

    volumes: tuple[Volume, ...]
    refused: tuple[Refusal, ...]
    ignored: tuple[Ignored, ...]
    used: tuple[tuple[str, ...], ...] = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def verdicts(self) -> dict[str, int]:
        """How many series were taken as they are (ok), mended (repaired) and refused."""
        repaired = sum(bool(volume.repairs) for volume in self.volumes)
        return {
            "ok": len(self.volumes) - repaired,
            "repaired": repaired,
            "refused": len(self.refused),
        }


class RefusedError(Exception):
    """Raised inside the assembler if a series must be refused."""

    def __init__(self, reason: str, *, fix: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix
        self.code = code


class SetAsideError(Exception):
    """Raised inside the assembler if a file takes no part."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
