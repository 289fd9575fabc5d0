"""The served kits on one backbone: loaded once, then asked by one thread."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image

from moekit.contract.answers import Answer
from moekit.data.remarks import Remark
from moekit.errors import ImageError, MoekitError
from moekit.json_text import finite, not_finite
from moekit.plugins.faults import named_fault
from moekit.runtime.answerer import NOT_FINITE
from moekit.runtime.select.domain import Choice
from moekit.serve.asked import AsksKits
from moekit.serve.extras import NOTHING, Extras, picture_json, shown_json
from moekit.serve.facts import AUTO, KitFacts
from moekit.serve.making import made_by
from moekit.serve.reading import Sent, content_of, read_content
from moekit.serve.unforeseen import unforeseen

_logger = logging.getLogger(__name__)
_READERS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one image.

    Attributes:
        content: SHA-256 of its bytes.
        rows: The answer of each kit, as values by the names of its columns.
        failed: The errors of the kits that have no answer; of an image that cannot be read an
            `ImageError`.
        remarks: What was guessed when it was read.
        picture: The picture as it was read, if pictures were asked for; see `schema.Picture`.
        shown: By kit what is shown of its answer, if it was asked for; see `schema.ShownAnswer`.
        computed: By what each answer was computed, by kit; see `Computed` of the interface.
        selected: Which kit was chosen, if none was named; see `schema.Selection`.
    """

    content: str
    rows: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, MoekitError]
    remarks: tuple[Remark, ...] = ()
    picture: Mapping[str, Any] | None = None
    shown: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    computed: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    selected: Mapping[str, Any] | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether it belongs to none of the kits, which is an answer too."""
        return self.selected is not None and self.selected["kit"] is None

    @property
    def unreadable(self) -> ImageError | None:
        """Why no kit could read it; None if one could."""
        found = [error for error in self.failed.values() if isinstance(error, ImageError)]
        return found[0] if found and len(found) == len(self.rows) + len(self.failed) else None


class AnswersImages(Protocol):
    """What a batcher asks."""

    def __call__(
        self, kits: Sequence[str], images: Sequence[Sent], extras: Extras = NOTHING
    ) -> list[Outcome]:
        """The outcome of each image, in their order."""
        ...


class Service:
    """Answers image files by several kits. All calls come from one thread.

    Args:
        runtime: Has the kits.
        facts: What is known of each, by name.
        batch_size: Most images a forward pass, and most that are decoded at once.
        most_pixels: Most pixels of an image.
        libraries: Versions of libraries that compute besides torch.
    """

    def __init__(
        self,
        runtime: AsksKits,
        facts: Mapping[str, KitFacts],
        *,
        batch_size: int,
        most_pixels: int = 100_000_000,
        libraries: Mapping[str, str] | None = None,
    ) -> None:
        self.facts = dict(facts)
        self._runtime = runtime
        self._batch_size = batch_size
        self._most_pixels = most_pixels
        self._libraries = dict(libraries or {})
        self._maker: dict[str, Any] = {}
        self._readers = concurrent.futures.ThreadPoolExecutor(_READERS, "moekit-reader")

    def close(self) -> None:
        """Ends its threads."""
        self._readers.shutdown()

    def __call__(
        self, kits: Sequence[str], images: Sequence[Sent], extras: Extras = NOTHING
    ) -> list[Outcome]:
        """The outcome of each image; see `AnswersImages`.

        An image that cannot be read and a kit that fails take nothing else with them.
        """
        found: list[Outcome] = []
        for first in range(0, len(images), self._batch_size):
            found += self._answer(kits, images[first : first + self._batch_size], extras)
        return found

    def _answer(self, kits: Sequence[str], images: Sequence[Sent], extras: Extras) -> list[Outcome]:
        rows: list[dict[str, Mapping[str, Any]]] = [{} for _ in images]
        failed: list[dict[str, MoekitError]] = [{} for _ in images]
        remarks: list[tuple[Remark, ...]] = [() for _ in images]
        seen: dict[int, dict[str, Any]] = {}
        shown: list[dict[str, Mapping[str, Any]]] = [{} for _ in images]
        computed: list[dict[str, Mapping[str, Any]]] = [{} for _ in images]
        contents = list(self._readers.map(content_of, images))
        auto = tuple(kits) == (AUTO,)
        choices: list[Choice | None] = [None for _ in images]
        for bits, names in self._by_bits(self._choosable(kits)).items():
            pictures: dict[int, Image.Image] = {}
            read = functools.partial(_read, bits=bits, most_pixels=self._most_pixels)
            for place, one in enumerate(self._readers.map(read, images)):
                if isinstance(one, ImageError):
                    failed[place] |= dict.fromkeys(names, one)
                else:
                    (pictures[place],), remarks[place] = one
            if extras.overlays:
                seen |= {
                    place: picture_json(one) for place, one in pictures.items() if place not in seen
                }
            levels = dict(extras.levels)
            if auto:
                answers = self._select(names, pictures, levels, choices)
                for place, *_ in answers:  # nearer than what was chosen before
                    rows[place], failed[place], computed[place], shown[place] = {}, {}, {}, {}
            else:
                answers = self._ask(names, pictures, levels)
            for place, kit, answer, shared in answers:
                row = answer if isinstance(answer, MoekitError) else self._row(kit, answer)
                if isinstance(row, MoekitError):
                    failed[place][kit] = row
                    continue
                rows[place][kit] = row
                computed[place][kit] = self._made_by(shared)
                if extras.wants_pictures and not isinstance(answer, MoekitError):
                    shown[place][kit] = shown_json(
                        self._runtime, kit, pictures[place], answer, extras
                    )
        return [
            Outcome(
                content=contents[place],
                rows=rows[place],
                failed=failed[place],
                remarks=remarks[place],
                picture=seen.get(place),
                shown=shown[place],
                computed=computed[place],
                selected=_told(choices[place]),
            )
            for place in range(len(images))
        ]

    def _made_by(self, images: int) -> dict[str, Any]:
        """By what an answer is computed; `images` is how many share its pass."""
        if not self._maker:
            runtime = self._runtime
            self._maker = made_by(runtime.device, runtime.registry, self._libraries)
        return {
            "images": images,
            "batch_size": self._batch_size,
            "threads": torch.get_num_threads(),
            **self._maker,
        }

    def _choosable(self, kits: Sequence[str]) -> Sequence[str]:
        """The kits of a request; if it names none in particular, those that can be chosen."""
        if tuple(kits) != (AUTO,):
            return kits
        return [name for name, one in self.facts.items() if one.can_be_chosen]

    def _by_bits(self, kits: Sequence[str]) -> dict[int | None, list[str]]:
        """The kits by how they read numbers of more than 8 bits; others share no pass anyway."""
        found: dict[int | None, list[str]] = {}
        for name in kits:
            found.setdefault(self.facts[name].bits, []).append(name)
        return found

    def _ask(
        self,
        kits: Sequence[str],
        pictures: Mapping[int, Image.Image],
        levels: Mapping[str, float],
    ) -> list[tuple[int, str, Answer | MoekitError, int]]:
        """Place, kit and answer, and how many images were computed with it.

        A kit that fails with several pictures is asked one by one.
        """
        if not pictures:
            return []
        places = list(pictures)
        answers, failed = self._together(kits, list(pictures.values()), levels)
        found: list[tuple[int, str, Answer | MoekitError, int]] = [
            (place, kit, answer, len(places))
            for kit, many in answers.items()
            for place, answer in zip(places, many, strict=True)
        ]
        for kit, error in failed.items():
            if len(places) == len(kits) == 1:
                found.append((places[0], kit, error, 1))
                continue
            for place in places:  # whichever image it fails with, the others have answers
                single, wrong = self._together([kit], [pictures[place]], levels)
                found.append((place, kit, single[kit][0] if kit in single else wrong[kit], 1))
        return found

    def _select(
        self,
        kits: Sequence[str],
        pictures: Mapping[int, Image.Image],
        levels: Mapping[str, float],
        choices: list[Choice | None],
    ) -> list[tuple[int, str, Answer | MoekitError, int]]:
        """As `_ask`, of each picture by the kit that it belongs to.

        Args:
            kits: Those that read pictures alike.
            pictures: By place.
            levels: As of `_ask`.
            choices: By place what was chosen among others; takes what is chosen among all. A
                picture that is nearer to one of the others has no answer here.
        """
        if not pictures:
            return []
        try:
            made = self._runtime.select(
                list(pictures.values()), kits=kits, batch_size=self._batch_size, levels=levels
            )
        except Exception as error:  # of a kit, of a library or of moekit itself
            if len(pictures) > 1:
                parts = [{place: picture} for place, picture in pictures.items()]
                return [one for part in parts for one in self._select(kits, part, levels, choices)]
            known = error if isinstance(error, MoekitError) else named_fault(error)
            if known is None:
                _logger.exception("choosing a kit failed")
            return [(place, AUTO, known or unforeseen(error), 1) for place in pictures]
        found: list[tuple[int, str, Answer | MoekitError, int]] = []
        for place, one in zip(pictures, made, strict=True):
            before = choices[place]
            choice = one.choice
            if before is not None:
                choice = Choice.of({**before.scores, **choice.scores})
            choices[place] = choice
            answer = one.answer if one.answer is not None else one.error
            if choice.kit == one.choice.kit and choice.kit is not None and answer is not None:
                found.append((place, choice.kit, answer, one.shared))
        return found

    def _together(
        self, kits: Sequence[str], pictures: Sequence[Image.Image], levels: Mapping[str, float]
    ) -> tuple[dict[str, list[Answer]], dict[str, MoekitError]]:
        try:
            found = self._runtime.answer(
                pictures, kits=kits, batch_size=self._batch_size, levels=levels
            )
        except MoekitError as error:
            return {}, dict.fromkeys(kits, error)
        except Exception as error:  # of a library or of moekit itself
            _logger.exception("answering failed")
            return {}, dict.fromkeys(kits, named_fault(error) or unforeseen(error))
        return dict(found), found.failed

    def _row(self, kit: str, answer: Answer) -> Mapping[str, Any] | MoekitError:
        """Values by the names of the kit's columns, as `predict` writes them."""
        try:
            known = answer.as_row()
        except Exception as error:
            return named_fault(error) or unforeseen(error)
        row = {"verdict": answer.verdict}
        row |= {name: known[name] for name in self.facts[kit].columns if name in known}
        return row if not_finite(row) is None else {**finite(row), "error": NOT_FINITE}


def _read(
    content: Sent, *, bits: int | None, most_pixels: int
) -> tuple[tuple[Image.Image, ...], tuple[Remark, ...]] | ImageError:
    try:
        return read_content(content, bits=bits, most_pixels=most_pixels)
    except ImageError as error:
        return error


def _told(choice: Choice | None) -> dict[str, Any] | None:
    """What is said of a choice; numbers that are no numbers are beyond all limits."""
    if choice is None:
        return None
    known = {"kit": choice.kit, "nearest": choice.nearest, "score": choice.score}
    told: dict[str, Any] = finite({**known, "scores": dict(choice.scores)})
    return told
