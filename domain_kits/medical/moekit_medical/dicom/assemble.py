"""Makes volumes of the CT series below a path, or says why not."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from moekit_medical.dicom.consistency import check_acquisitions, check_values, words_of_loss
from moekit_medical.dicom.geometry import (
    Plan,
    copies,
    is_interpolated,
    nearest_places,
    plan_grid,
)
from moekit_medical.dicom.grouping import by_series, check_part, check_series, split_series
from moekit_medical.dicom.persons import Stated, find_doubts
from moekit_medical.dicom.pixels import hounsfield, resample
from moekit_medical.dicom.reading import describe, quiet, read
from moekit_medical.dicom.slices import Slice, slices_of
from moekit_medical.dicom.sources import Archives, Source, find_sources
from moekit_medical.dicom.subject import common_facts
from moekit_medical.dicom.verdict import Assembly, Ignored, Refusal, RefusedError, SetAsideError
from moekit_medical.hounsfield import words_of_one_value
from moekit_medical.privacy import token
from moekit_medical.volume import Volume

_COPY = "a copy of another slice, equal in place and in every voxel"


def _silent(_done: int, _total: int) -> None:
    """Reports nothing."""


def assemble(
    path: Path, *, salt: bytes, progress: Callable[[int, int], None] = _silent
) -> Assembly:
    """Makes a regular volume in Hounsfield units of each CT series below `path`.

    Slices are ordered by their place in the patient. What can be mended within the rules of
    `geometry` and `pixels` is mended and recorded in `Volume.repairs`; any other series is refused
    for a stated reason, and the others go on. The result does not depend on the names or the order
    of the files, except the tokens that name them.

    Args:
        path: A file, a zip archive or a folder of them at any depth.
        salt: Secret of this run, for tokens.
        progress: Called with the steps done and their total: for each file one for its header and
            one for what became of it.

    Returns:
        Every file in exactly one of volumes, refusals and ignored files.

    Raises:
        DataError: There is nothing at `path`.
    """
    with contextlib.closing(Archives()) as archives, quiet():
        sources, unseen = find_sources(path, salt=salt, archives=archives)
        run = _Run(salt=salt, total=2 * len(sources), progress=progress)
        run.ignored.extend(unseen)
        slices = [one for source in sources for one in run.examine(source)]
        doubts = find_doubts(
            Stated.of(
                one.series_uid,
                one.person,
                salt=salt,
                patient=one.patient,
                study_uid=one.study_uid,
            )
            for one in slices
        )
        for series in by_series(slices):
            run.take_series(series)
    return Assembly(
        volumes=tuple(run.volumes),
        refused=tuple(run.refused),
        ignored=tuple(sorted(run.ignored, key=lambda one: one.file)),
        used=tuple(run.used),
        doubts=doubts,
    )


class _Run:
    """What one call has found so far."""

    def __init__(self, *, salt: bytes, total: int, progress: Callable[[int, int], None]) -> None:
        self.volumes: list[Volume] = []
        self.used: list[tuple[str, ...]] = []
        self.refused: list[Refusal] = []
        self.ignored: list[Ignored] = []
        self._salt = salt
        self._progress = progress
        self._done, self._total = 0, total

    def examine(self, source: Source) -> tuple[Slice, ...]:
        """The slices in one file, none if it takes no part."""
        try:
            slices = slices_of(read(source, pixels=False), source)
        except SetAsideError as aside:
            reason = aside.reason
        except Exception as error:
            reason = f"unreadable: {describe(error)}"
        else:
            self._advance(1)
            return slices
        self.ignored.append(Ignored(file=source.token, reason=reason))
        self._advance(2)
        return ()

    def take_series(self, slices: Sequence[Slice]) -> None:
        """Volumes or refusals of the slices of one SeriesInstanceUID."""
        try:
            check_series(slices)
            parts = split_series(slices)
        except RefusedError as refusal:
            self._refuse(slices, refusal)
            self._advance(len(_files(slices)))
            return
        for part in parts:
            try:
                self._take_part(part, of=len(parts))
            except RefusedError as refusal:
                self._refuse(part, refusal)
            except MemoryError:
                fix = "close other programs, or use a machine of more memory"
                self._refuse(
                    part,
                    RefusedError(
                        "it needs more memory than there is", fix=fix, code="data/too-large"
                    ),
                )
            self._advance(len(_files(part)))

    def _take_part(self, part: Sequence[Slice], *, of: int) -> None:
        check_part(part)
        plan = plan_grid(part)
        check_acquisitions(plan.places)
        hu_NHW, notes = _load(part, plan)
        check_values(hu_NHW, plan.places)
        notes |= set(words_of_one_value(hu_NHW))
        if of > 1:
            notes |= {f"It is one of {of} matrices or orientations that the series holds."}
        self.volumes.append(_volume(plan, resample(hu_NHW, plan), notes))
        spare = copies(plan)
        used = _files([place[0] for place in plan.places])
        self.used.append(used)
        self.ignored.extend(
            Ignored(file=name, reason=_COPY) for name in _files(spare) if name not in used
        )

    def _refuse(self, slices: Sequence[Slice], refusal: RefusedError) -> None:
        self.refused.append(
            Refusal(
                series=token(slices[0].series_uid, salt=self._salt),
                reason=refusal.reason,
                fix=refusal.fix,
                code=refusal.code,
                files=_files(slices),
            )
        )

    def _advance(self, steps: int) -> None:
        self._done += steps
        self._progress(self._done, self._total)


def _files(slices: Sequence[Slice]) -> tuple[str, ...]:
    return tuple(sorted({one.source.token for one in slices}))


def _load(part: Sequence[Slice], plan: Plan) -> tuple[np.ndarray, frozenset[str]]:
    """(N, H, W) float32 HU, one slice a place, and what was mended in them."""
    place_of = {
        (one.source.token, one.frame): index
        for index, place in enumerate(plan.places)
        for one in place
    }
    hu_NHW = np.empty((len(plan.places), part[0].rows, part[0].columns), dtype=np.float32)
    filled: set[int] = set()
    notes: frozenset[str] = frozenset()
    ordered = sorted(part, key=lambda one: (one.source.token, one.frame))
    for _, group in itertools.groupby(ordered, lambda one: one.source.token):
        slices = list(group)
        images, found = hounsfield(slices)
        notes |= found
        for one, hu_HW in zip(slices, images, strict=True):
            place = place_of[one.source.token, one.frame]
            if place in filled and not np.array_equal(hu_NHW[place], hu_HW):
                raise RefusedError(
                    "slices at one place differ in their voxels",
                    fix="separate the acquisitions, phases or reconstructions in the series",
                    code="data/mixed-acquisitions",
                )
            hu_NHW[place] = hu_HW
            filled.add(place)
    return hu_NHW, notes


def _volume(plan: Plan, hu_DHW: np.ndarray, notes: frozenset[str]) -> Volume:
    kept = [place[0] for place in plan.places]
    spare = copies(plan)
    repairs = [f"Copies of slices were left out: {len(spare)}."] if spare else []
    return Volume(
        hu_DHW=hu_DHW,
        affine=plan.affine,
        series_uid=kept[0].series_uid,
        study_uid=kept[0].study_uid,
        frame_of_reference_uid=kept[0].frame_of_reference_uid,
        sop_uids=tuple(kept[place].sop_uid for place in nearest_places(plan)),
        repairs=(*repairs, *plan.repairs, *sorted(notes), *words_of_loss(kept)),
        is_interpolated=is_interpolated(plan),
        facts=common_facts([dict(one.facts) for one in kept]),
    )
