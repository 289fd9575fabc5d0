"""Pictures sent to the kit that they belong to: one trunk for the choice and the answers.

The trunk runs once for all kits that read pictures alike, up to where each kit's specialists begin.
There it says what the pictures look like. The blocks behind it run for the pictures of each kit
only, from the tokens that are there already. A picture that is cut into windows is answered from
the beginning, since the tokens of all its windows are too many to be kept.

Shapes: B pictures or stacks, C cells, D width.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from moekit.contract.answers import Answer, Item
from moekit.contract.outputs import Outputs
from moekit.data.geometry import Size
from moekit.data.stream import Stack
from moekit.data.views import view
from moekit.errors import MoekitError, UsageError
from moekit.moe.owned import owned
from moekit.runtime.cells import cells_of
from moekit.runtime.device import autocast
from moekit.runtime.parts import Step, stack_batches, steps
from moekit.runtime.select.domain import Choice, Domain, features_of
from moekit.runtime.together import Pass, Trained, passes_of, readings_of
from moekit.runtime.trunk import Look, OnTrunk, Stop, walk

Read = Callable[[int, int | None], Sequence[Stack]]
"""Gives the RGB pictures of each input, from frames and bits as of `Preprocess`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selected:
    """A picture's kit, and its answer.

    Attributes:
        choice: Which kit it belongs to, and how near it is to each.
        answer: The kit's answer; None if it was not asked, is of no kit, or the kit failed.
        error: Why the kit has no answer.
        shared: How many pictures went through the trunk with it.
    """

    choice: Choice
    answer: Answer | None = None
    error: MoekitError | None = None
    shared: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Looked:
    """Some pictures, or windows of one, up to where a kit goes on by itself.

    Attributes:
        name: Of the kit.
        rows: The picture of each, by its place among all.
        sizes: Of these pictures.
        cells_BCD: What the trunk says of them.
        step: The images.
        stops: Where the trunk stands for each of the kit's models; empty for windows.
    """

    name: str
    rows: tuple[int, ...]
    sizes: tuple[Size, ...]
    cells_BCD: np.ndarray
    step: Step
    stops: Mapping[int, Stop]


@torch.inference_mode()
def select(
    kits: Mapping[str, Trained],
    read: Read,
    *,
    batch_size: int,
    answers: bool,
) -> list[Selected]:
    """Chooses a kit for each picture and, if that is wanted, answers it by that kit.

    Args:
        kits: By name, all of one backbone.
        read: Gives the pictures; one that reads files keeps what it has read.
        batch_size: Pictures a forward pass.
        answers: Whether they are answered.

    Raises:
        MoekitError: The pictures cannot be read, or the trunk fails.
        UsageError: A run does not say what its pictures look like.
    """
    domains = {name: _domain(name, kit) for name, kit in kits.items()}
    looked: dict[str, list[_Looked]] = {name: [] for name in kits}
    for preprocess, group in readings_of(kits).items():
        stacks = read(preprocess.frames, preprocess.bits)
        for batch in stack_batches(stacks, preprocess, batch_size=batch_size):
            for step in steps(batch, preprocess, batch_size):
                rows = tuple(batch.rows[place] for place in step.places)
                sizes = tuple(batch.sizes[place] for place in step.places)
                for one in _passes(group, domains, step, rows, sizes, answers=answers):
                    looked[one.name].append(one)
    scores = {name: domains[name].scores(_features(found)) for name, found in looked.items()}
    count = len(next(iter(scores.values())))
    found = [
        Selected(choice=Choice.of({name: float(scores[name][row]) for name in kits}))
        for row in range(count)
    ]
    if not answers:
        return found
    for name, kit in kits.items():
        wanted = [row for row, one in enumerate(found) if one.choice.kit == name]
        for row, changes in _answered(name, kit, wanted, looked[name], read, batch_size):
            found[row] = dataclasses.replace(found[row], **changes)
    return found


def _domain(name: str, kit: Trained) -> Domain:
    if kit.domain is None:
        raise UsageError(
            "its run does not say what its pictures look like, so none can be sent to it",
            whose=name,
            fix="adapt it again with this version (merged runs have no such record), or name its "
            "kit yourself",
            code="usage/no-domain",
        )
    return kit.domain


def _features(looked: Sequence[_Looked]) -> np.ndarray:
    """(N, F) features of the pictures in their order, of one that is cut over all windows."""
    of_row: dict[int, list[np.ndarray]] = {}
    for one in looked:
        for row, cells in zip(one.rows, one.cells_BCD, strict=True):
            of_row.setdefault(row, []).append(cells)
    return features_of(np.stack([np.mean(of_row[row], axis=0) for row in sorted(of_row)]))


def _passes(
    kits: Mapping[str, Trained],
    domains: Mapping[str, Domain],
    step: Step,
    rows: tuple[int, ...],
    sizes: tuple[Size, ...],
    *,
    answers: bool,
) -> Iterator[_Looked]:
    """Runs the trunk for the first view of kits that read pictures alike."""
    for one in _first_passes(kits):
        names = list(dict.fromkeys(name for name, _ in one.models))
        first = kits[names[0]].predictor
        going = one.models if answers and not step.windows else ()
        images = step.images.to(first.device, non_blocking=True)
        seen = view(images, one.view) if one.view else images
        models: list[OnTrunk] = [Look(start=domains[name].block) for name in names]
        models += [kits[name].predictor.models[place] for name, place in going]
        cells: dict[str, np.ndarray] = {}
        stops: dict[str, dict[int, Stop]] = {name: {} for name in names}
        with autocast(first.device, one.arithmetic):
            for stop in walk(first.backbone, seen, models, top_k=one.top_k, tokens=one.tokens):
                if stop.model < len(names):
                    cells[names[stop.model]] = cells_of(stop.x_BND, stop.grid)
                else:
                    name, place = going[stop.model - len(names)]
                    stops[name][place] = stop
        for name in names:
            yield _Looked(
                name=name,
                rows=rows,
                sizes=sizes,
                cells_BCD=cells[name],
                step=step,
                stops=stops[name],
            )


def _first_passes(kits: Mapping[str, Trained]) -> Iterator[Pass]:
    """The passes of the kits' first views, each with the kits of which it is the first."""
    predictors = {name: one.predictor for name, one in kits.items()}
    for one in passes_of(predictors):
        models = tuple(model for model in one.models if predictors[model[0]].views[0] == one.view)
        if models:
            yield dataclasses.replace(one, models=models)


def _answered(
    name: str,
    kit: Trained,
    wanted: Sequence[int],
    looked: Sequence[_Looked],
    read: Read,
    batch_size: int,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the kit's pictures, and of each what becomes known; an error is of all in its pass."""
    left = dict.fromkeys(wanted)
    for one in looked:
        places = [place for place, row in enumerate(one.rows) if row in left] if one.stops else []
        if places:
            rows = [one.rows[place] for place in places]
            for row in rows:
                del left[row]
            go_on = functools.partial(_go_on, kit, one, places)
            yield from _apart(name, rows, go_on, shared=len(one.rows))
    for row in left:
        preprocess = kit.answerer.preprocess
        stack = read(preprocess.frames, preprocess.bits)[row]
        whole = functools.partial(kit.answerer.answer, [stack], batch_size=batch_size)
        yield from _apart(name, [row], whole)


def _apart(
    name: str, rows: Sequence[int], call: Callable[[], Sequence[Answer]], *, shared: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        found = owned(f"kit {name}", call)
    except MoekitError as error:
        for row in rows:
            yield row, {"error": error}
        return
    for row, answer in zip(rows, found, strict=True):
        yield row, {"answer": answer, "shared": shared}


def _go_on(kit: Trained, one: _Looked, places: Sequence[int]) -> Sequence[Answer]:
    """The answers to some pictures of a pass, from where the trunk stands."""
    predictor, answerer = kit.predictor, kit.answerer
    views: list[list[Outputs]] = []
    with autocast(predictor.device, predictor.arithmetic):
        for number in predictor.views:
            if number == predictor.views[0]:
                made = {
                    model: predictor.outputs_at(stop.taken(places), model, number)
                    for model, stop in one.stops.items()
                }
            else:
                images = one.step.images[list(places)].to(predictor.device)
                made = {
                    stop.model: predictor.outputs_at(stop, stop.model, number)
                    for stop in walk(
                        predictor.backbone,
                        view(images, number),
                        predictor.models,
                        top_k=predictor.top_k,
                        tokens=predictor.tokens,
                    )
                }
            views.append([made[model] for model in range(len(predictor.models))])
    items = [Item(id=str(one.rows[place]), size=one.sizes[place]) for place in places]
    return answerer.answers(predictor.merged(views)[0], items)
