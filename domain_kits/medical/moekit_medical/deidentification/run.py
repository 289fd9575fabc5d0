"""De-identifying all files at a path, and the summary of what each became."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from moekit import DataError, StorageError, UsageError
from moekit.files import read_json, write_json
from moekit.occupied import alone_in
from moekit_medical.deidentification.copies import Outcome, State, make_copy
from moekit_medical.deidentification.files import find_files
from moekit_medical.dicom.persons import Stated, find_doubts
from moekit_medical.dicom.reading import quiet
from moekit_medical.dicom.sources import Archives
from moekit_medical.privacy import token

SUMMARY = "deidentified.json"
PROFILE = "DICOM PS3.15 Annex E, Basic Application Level Confidentiality Profile, without options"
NOT_DONE = (
    "Pixels are not cleaned: text and faces that they show stay.",
    "What lies within coded pixels, where only a decoder can tell it from them, stays.",
    "An image that wrongly says that it has no burned-in annotation is not noticed.",
    "Nothing but DICOM files is copied.",
)
_WHAT = "de-identified"
_ONE_ID = "their copies share one new PatientID"
_FINGERPRINT = "fingerprint of the salt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What one call did. It holds no path, no name and no identifier.

    Attributes:
        outcomes: Of every file found, in the order of their paths.
        salt: Tells whether two summaries were made with the same salt, and nothing about it.
        is_finished: Whether the call came to its end.
        doubts: Series of two persons under one PatientID, whose copies share one new id; by the
            names of their folders.
    """

    outcomes: tuple[Outcome, ...]
    salt: str
    is_finished: bool
    doubts: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many files were found and what they became."""
        count = Counter(outcome.state for outcome in self.outcomes)
        return {"found": len(self.outcomes), **{state: count[state] for state in get_args(State)}}

    def reasons(self) -> dict[str, int]:
        """Why files were left out, with how many, the most frequent first."""
        reasons = (outcome.reason for outcome in self.outcomes if outcome.state == "left out")
        return dict(Counter(reasons).most_common())

    def warnings(self) -> dict[str, int]:
        """What the profile does not see to, with the number of copies."""
        every = (warning for outcome in self.outcomes for warning in outcome.warnings)
        return {**dict(Counter(every).most_common()), **dict.fromkeys(NOT_DONE[:1], self._copies())}

    def _copies(self) -> int:
        return sum(outcome.state in ("written", "already there") for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "profile": PROFILE,
            "not_done": list(NOT_DONE),
            "finished": self.is_finished,
            "salt": self.salt,
            "counts": self.counts(),
            "left_out": self.reasons(),
            "warnings": self.warnings(),
            "doubts": list(self.doubts),
            "files": [dataclasses.asdict(outcome) for outcome in self.outcomes],
        }


def _silent(_what: str, _done: int, _total: int) -> None:
    """Reports nothing."""


@alone_in("out", called="the output folder")
def deidentify_files(
    path: Path,
    *,
    out: Path,
    salt: bytes,
    on_progress: Callable[[str, int, int], None] = _silent,
) -> Summary:
    """Writes a de-identified copy of each DICOM file at a path, and `deidentified.json`.

    Nothing is overwritten. A copy that is there from an earlier call with the same salt is left
    alone, so that an interrupted call goes on. One salt gives one new UID to each old one.

    Args:
        path: A folder, a file, a zip archive or a DICOMDIR. It is not changed.
        out: Folder of the copies: new, empty, or of an earlier call with the same salt.
        salt: Secret, at least 16 bytes.
        on_progress: Called with what is done, the files done and their total.

    Raises:
        UsageError: The output folder lies in the input, holds other things, or copies that were
            made with another salt.
        DataError: There is nothing at the path, or nothing that can be de-identified.
        StorageError: The output cannot be written.
    """
    fingerprint = token(_FINGERPRINT, salt=salt)
    _check_out(path, out, fingerprint)
    archives = Archives()
    try:
        with quiet():
            sources, ignored = find_files(path, salt=salt, archives=archives)
            outcomes = [
                Outcome(file=one.file, state="left out", reason=one.reason) for one in ignored
            ]
            _write(out, Summary(outcomes=(), salt=fingerprint, is_finished=False))
            seen: set[str] = set()
            stated: list[Stated] = []
            for number, source in enumerate(sources, 1):
                outcomes.append(make_copy(source, out, salt=salt, seen=seen, stated=stated))
                on_progress(_WHAT, number, len(sources))
    finally:
        archives.close()
    summary = Summary(
        outcomes=tuple(outcomes),
        salt=fingerprint,
        is_finished=True,
        doubts=tuple(f"{doubt.in_words()}; {_ONE_ID}" for doubt in find_doubts(stated)),
    )
    _write(out, summary)
    if not seen:
        raise DataError(
            f"none of {len(outcomes)} files could be de-identified"
            + "".join(f"; {reason}" for reason in list(summary.reasons())[:1]),
            whose="the files at the path",
            fix="name DICOM files without burned-in annotation, or a folder of them",
            code="data/none-readable",
        )
    return summary


def _check_out(path: Path, out: Path, fingerprint: str) -> None:
    if out.resolve().is_relative_to(path.resolve()):
        raise _unfit(
            "it lies in the input, and its copies would be copied again",
            code="usage/nested-folders",
        )
    if not out.is_dir() or all(_is_of_a_summary(found) for found in out.iterdir()):
        return
    if not (out / SUMMARY).is_file():
        raise _unfit("it holds other things than this command writes", code="usage/exists")
    content = _read(out)
    if not isinstance(content, dict) or content.get("salt") != fingerprint:
        raise _unfit(
            "its copies were made with another salt, and images would be there twice",
            code="usage/other-salt",
        )


def _read(out: Path) -> Any:
    try:
        return read_json(out / SUMMARY)
    except DataError:
        raise _unfit(f"its {SUMMARY} is damaged", code="usage/damaged-summary") from None


def _is_of_a_summary(path: Path) -> bool:
    """Whether a file is the summary, or a hidden one: one begun of it, or the system's."""
    return path.name == SUMMARY or path.name.startswith(".")


def _unfit(what: str, *, code: str) -> UsageError:
    return UsageError(
        f"the output folder cannot be used: {what}",
        whose="--out",
        fix="name a new or empty folder, or pass the --salt-file of the call that filled it",
        code=code,
    )


def _write(out: Path, summary: Summary) -> None:
    try:
        write_json(out / SUMMARY, summary.as_json())
    except StorageError as error:
        raise StorageError(
            error.what, whose="the output folder", fix=error.fix, code=error.code
        ) from None
