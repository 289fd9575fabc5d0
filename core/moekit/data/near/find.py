"""Near-duplicates of a set: candidates by features and spectra, each verified by its pixels.

How alike two pictures of one set are without being the same depends on the set: screws agree in
their outline, photographs in nothing. Pairs drawn at random tell it. A pair counts if it is more
alike than they are, by far.

A set may hold kinds that agree in their layout, such as cells with and without grain. So a pair
must also leave less unexplained than its second picture does with pictures of its own kind.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any

import numpy as np
import torch

from moekit.data.near.coded import Coded, Picture, PreparedPictures
from moekit.data.near.codes import turned
from moekit.data.near.neighbours import Candidate, candidates
from moekit.data.near.register import Registered, register
from moekit.data.near.spectrum import spectral_codes
from moekit.data.samples import Sample

LEAST, SPREADS, MOST = 0.5, 5.5, 0.92
"""Least likeness of a pair: `SPREADS` spreads above the median of random pairs, within bounds."""
VERIFIED = 1500
"""Candidates that are compared by pixels, the most alike by features and by spectra first."""
DRAWN = 40
"""Pairs drawn at random."""
FEWEST = 8
"""Of fewer random pairs nothing is known of the set, and the highest bound holds."""
UNEXPLAINED = 0.6
"""What a pair may lack to likeness 1, as a share of what pictures of its kind lack."""
KIND, OF_KIND = (0.04, 0.2), 6
"""How many pictures of its kind are compared, and which: from these shares of the list on, the most
alike by features first. The nearest of all may be near-duplicates too."""
Progress = Callable[[str, int, int], None]
"""Gets the step, what is done of it and its total."""


def in_steps_of(search: str, on_progress: Progress) -> Progress:
    """Names the search in front of each of its steps."""
    return lambda step, done, total: on_progress(f"{search}: {step}", done, total)


Kin = tuple[np.ndarray, np.ndarray]
"""A number of each sample of two lists, the same for those of one group."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two near-duplicates.

    Attributes:
        first: A sample.
        second: Another one.
        likeness: Mean correlation of outline and grain, 1 for copies.
        fit: How they lie on each other.
        pictures: Give their pictures.
    """

    first: Sample
    second: Sample
    likeness: float
    fit: Registered
    pictures: tuple[Picture, Picture]

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "ids": [self.first.id, self.second.id],
            "splits": [self.first.split, self.second.split],
            "likeness": round(self.likeness, 4),
            "fit": self.fit_in_words,
        }

    @property
    def fit_in_words(self) -> str:
        """What was done to one to lay it on the other."""
        told = [f"turned by {90 * self.fit.turns} degrees"] * bool(self.fit.turns)
        told += ["mirrored"] * self.fit.mirrored
        if abs(self.fit.scale - 1) > 0.03:
            told.append(f"scaled by {self.fit.scale:.2f}")
        return ", ".join(told) or "neither turned nor scaled"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        pairs: The near-duplicates, the most alike first.
        least: The likeness from which a pair counts.
        usual: Median likeness of pairs drawn at random; None if there were too few, or no candidate
            was alike enough for it to matter.
        candidates: Pairs that the codes named.
        verified: How many of them were compared by pixels.
        by_spectra: Whether spectra named some too; without them turned copies may be missed.
        unread: How many could not be compared, since a picture cannot be read now.
        seconds: Time that it took.
    """

    pairs: tuple[Pair, ...]
    least: float
    usual: float | None
    candidates: int
    verified: int
    by_spectra: bool
    unread: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "pairs": [pair.as_json() for pair in self.pairs],
            "least_likeness": round(self.least, 4),
            "usual_likeness": None if self.usual is None else round(self.usual, 4),
            "candidates": self.candidates,
            "verified": self.verified,
            "by_spectra": self.by_spectra,
            "unread": self.unread,
            "seconds": round(self.seconds, 2),
        }


def find_across(
    first: Coded,
    second: Coded,
    *,
    most: int = VERIFIED,
    device: torch.device | str = "cpu",
    on_progress: Progress = lambda *_: None,
) -> Found:
    """Near-duplicates of which one lies in each list; items of one group are none.

    Args:
        first: What was learned from.
        second: What is judged; the nearest of each of these are compared.
        most: Pairs that are compared by pixels at most.
        device: Where codes are compared.
        on_progress: Called with the step, what is done of it and its total.
    """
    began = time.perf_counter()
    kin_N, kin_K = _kin(first.samples, second.samples)
    with PreparedPictures(first, second) as pictures:
        found = _candidates(pictures, (kin_N, kin_K), device, on_progress)
        return _verified(pictures, found, (kin_N, kin_K), began, on_progress, most=most)


def find_within(
    coded: Coded,
    *,
    most: int = VERIFIED,
    device: torch.device | str = "cpu",
    on_progress: Progress = lambda *_: None,
) -> Found:
    """Near-duplicates of one list; arguments as of `find_across`."""
    began = time.perf_counter()
    kin, _ = _kin(coded.samples, ())
    with PreparedPictures(coded, coded) as pictures:
        found = _candidates(pictures, (kin, kin), device, on_progress)
        seen: set[tuple[int, int]] = set()
        once = []
        for one in found:
            key = (min(one.first, one.second), max(one.first, one.second))
            if key not in seen:
                seen.add(key)
                once.append(one)
        return _verified(pictures, once, (kin, kin), began, on_progress, most=most)


def _candidates(
    pictures: PreparedPictures, kin: Kin, device: torch.device | str, on_progress: Progress
) -> list[Candidate]:
    """The most alike by features and by spectra, in turn, each pair once."""
    first, second = pictures.lists
    named = functools.partial(candidates, kin_N=kin[0], kin_K=kin[1], device=device)
    lists = [named(_variants(first.codes_NVW), second.codes_NVW[:, 0])]
    if pictures.by_spectra and len(first.samples) and len(second.samples):
        sides = (0,) if first is second else (0, 1)
        total, done = sum(len(pictures.lists[side].samples) for side in sides), 0

        def read() -> None:
            nonlocal done
            done += 1
            on_progress("reading pictures", done, total)

        spectra = [pictures.spectra(side, read) for side in sides]
        # A copy that was only turned is the nearest of all; of others spectra say little.
        lists.append(named(*spectral_codes(spectra[0], spectra[-1]), nearest=1))
    found: dict[tuple[int, int], Candidate] = {}
    for one in itertools.chain.from_iterable(itertools.zip_longest(*lists)):
        if one is not None:
            found.setdefault((one.first, one.second), one)
    return list(found.values())


def _variants(codes_NVW: np.ndarray) -> np.ndarray:
    return np.concatenate([turned(codes_NVW[:, 0]), codes_NVW[:, 1:]], axis=1)


def _kin(*lists: Sequence[Sample]) -> list[np.ndarray]:
    """A number a sample, the same for those of one group."""
    numbers: dict[tuple[str, str], int] = {}
    kin = []
    for samples in lists:
        keys = [("id", s.id) if s.group is None else ("group", s.group) for s in samples]
        kin.append(
            np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
        )
    return kin


def _verified(
    pictures: PreparedPictures,
    found: Sequence[Candidate],
    kin: Kin,
    began: float,
    on_progress: Progress,
    *,
    most: int,
) -> Found:
    (first, second), pool = pictures.lists, pictures.pool
    chosen = found[: min(most, VERIFIED)]
    drawn = _drawn(kin)
    compared = 0

    def counted(fits: Iterable[Registered | None], total: int) -> Iterator[Registered | None]:
        nonlocal compared
        for fit in fits:
            compared += 1
            on_progress("comparing pairs", compared, max(compared, total))
            yield fit

    def compare(rows: tuple[int, int], whole: bool) -> Registered | None:
        one, other = pictures.of(0, rows[0]), pictures.of(1, rows[1])
        return None if one is None or other is None else register(one, other, whole=whole)

    made = pool.map(lambda one: compare((one.first, one.second), False), chosen)
    fits = list(counted(made, len(chosen)))
    usual, least = None, LEAST
    if any(fit is not None and fit.score >= LEAST for fit in fits):
        usual, least = _bounds(
            counted(pool.map(lambda rows: compare(rows, True), drawn), len(fits) + len(drawn))
        )
    known = [
        (one, fit)
        for one, fit in zip(chosen, fits, strict=True)
        if fit is not None and fit.score >= least
    ]
    of_kind = _of_kind(first, second, kin, {one.second for one, _ in known})
    rows = [(other, row) for row, others in of_kind.items() for other in others]
    scores: dict[int, list[float]] = collections.defaultdict(list)
    alike = counted(pool.map(lambda pair: compare(pair, True), rows), compared + len(rows))
    for (_, row), fit in zip(rows, alike, strict=True):
        if fit is not None:
            scores[row].append(fit.score)
    pairs = [
        Pair(
            first=first.samples[one.first],
            second=second.samples[one.second],
            likeness=fit.score,
            fit=fit,
            pictures=(
                functools.partial(first.picture, one.first),
                functools.partial(second.picture, one.second),
            ),
        )
        for one, fit in known
        if _is_own(fit.score, scores[one.second])
    ]
    return Found(
        pairs=tuple(sorted(pairs, key=lambda pair: (-pair.likeness, pair.first.id))),
        least=least,
        usual=usual,
        candidates=len(found),
        verified=len(chosen),
        by_spectra=pictures.by_spectra,
        unread=sum(fit is None for fit in fits),
        seconds=time.perf_counter() - began,
    )


def _of_kind(first: Coded, second: Coded, kin: Kin, rows: Set[int]) -> dict[int, list[int]]:
    """Of rows of the second list those of the first that look like them, but not the most alike."""
    if not rows:
        return {}
    kin_N, kin_K = kin
    codes_NW = first.codes_NVW[:, 0].astype(np.float32)
    found: dict[int, list[int]] = {}
    for row in rows:
        others = np.flatnonzero(kin_N != kin_K[row])
        if len(others) < FEWEST:
            found[row] = []
            continue
        alike = (codes_NW @ second.codes_NVW[row, 0].astype(np.float32))[others]
        places = np.linspace(*KIND, OF_KIND) * len(others)
        chosen = others[np.argsort(-alike, kind="stable")[places.astype(np.int64)]]
        found[row] = [int(one) for one in np.unique(chosen)]
    return found


def _is_own(score: float, of_kind: Sequence[float]) -> bool:
    """Whether two pictures agree in more than what their kind has in common."""
    return not of_kind or 1 - score <= UNEXPLAINED * (1 - float(np.median(of_kind)))


def _drawn(kin: Kin) -> list[tuple[int, int]]:
    """Pairs of different items, drawn at random, the same ones each time."""
    kin_N, kin_K = kin
    if not len(kin_N) or not len(kin_K):
        return []
    generator = np.random.default_rng(0)
    rows = generator.integers(len(kin_N), size=4 * DRAWN)
    others = generator.integers(len(kin_K), size=4 * DRAWN)
    pairs = {
        (int(row), int(other))
        for row, other in zip(rows, others, strict=True)
        if kin_N[row] != kin_K[other]
    }
    return sorted(pairs)[:: max(1, len(pairs) // DRAWN)][:DRAWN]


def _bounds(fits: Iterable[Registered | None]) -> tuple[float | None, float]:
    """The usual likeness of the set, and that from which a pair counts."""
    known = np.array([fit.score for fit in fits if fit is not None])
    if len(known) < FEWEST:
        return None, MOST
    usual = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - usual)))
    return usual, float(np.clip(usual + SPREADS * spread, LEAST, MOST))
