"""Several kits on one backbone: what they share is computed once.

Kits share a reading of the pictures if these become the same tensors, and a pass over the backbone
if it is the same view of them, at the same `top_k`, with the same routing of tokens and in the same
arithmetic. Each answers bitwise as it does by itself, and a kit that fails takes no other with it.

Shapes: B images or stacks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from moekit.contract.answers import Answer, Item
from moekit.contract.outputs import Outputs
from moekit.data.stream import ImageBatch, Preprocess, Stack
from moekit.data.views import view
from moekit.errors import MoekitError
from moekit.moe.owned import owned
from moekit.moe.tokens import TokenRouting
from moekit.runtime.answerer import Answerer, items_of
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.parts import Assembly, Step, stack_batches, steps
from moekit.runtime.predictor import Computed, Predictor
from moekit.runtime.select.domain import Domain
from moekit.runtime.trunk import walk

_logger = logging.getLogger(__name__)


class Answers(dict[str, list[Answer]]):
    """The answers of each kit, by its name, in the order of the pictures.

    A kit that failed is missing, and asking for its answers raises its error.

    Attributes:
        failed: The errors of the kits that failed, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed: dict[str, MoekitError] = {}

    def __missing__(self, kit: str) -> list[Answer]:
        raise self.failed.get(kit) or KeyError(kit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A kit that answers pictures.

    Attributes:
        predictor: Its models.
        answerer: Reads pictures for them and makes answers of their outputs.
        domain: What its pictures look like; None if its run does not say.
    """

    predictor: Predictor
    answerer: Answerer
    domain: Domain | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass over the backbone.

    Attributes:
        view: Number of the view of the images.
        top_k: Generic experts a token has.
        tokens: Which tokens are computed before the models' own blocks; all if None.
        arithmetic: fp32 or bf16.
        models: Who takes part: names of kits, and the place of the model among the kit's.
    """

    view: int
    top_k: int
    tokens: TokenRouting | None
    arithmetic: Arithmetic
    models: tuple[tuple[str, int], ...]


def passes_of(predictors: Mapping[str, Predictor]) -> list[Pass]:
    """The passes that kits take over the same images, as few as possible."""
    taking: dict[tuple[int, int, TokenRouting | None, Arithmetic], list[tuple[str, int]]] = {}
    for name, one in predictors.items():
        for number in one.views:
            models = [(name, place) for place in range(len(one.models))]
            key = (number, one.top_k, one.tokens, one.arithmetic)
            taking.setdefault(key, []).extend(models)
    return [
        Pass(view=number, top_k=top_k, tokens=tokens, arithmetic=arithmetic, models=tuple(models))
        for (number, top_k, tokens, arithmetic), models in taking.items()
    ]


def readings_of(kits: Mapping[str, Trained]) -> dict[Preprocess, dict[str, Trained]]:
    """The kits by how they read pictures."""
    found: dict[Preprocess, dict[str, Trained]] = {}
    for name, one in kits.items():
        found.setdefault(one.answerer.preprocess, {})[name] = one
    return found


@torch.inference_mode()
def compute_together(
    predictors: Mapping[str, Predictor], images: Tensor, failed: dict[str, MoekitError]
) -> dict[str, Computed]:
    """Computes normalised images, (B, 3, H, W) or (B, T, 3, H, W), for several kits at once.

    Args:
        predictors: The kits, all of one backbone.
        images: On any device.
        failed: Takes the errors of kits that fail; those in it already are left out.

    Returns:
        What each of the others gives by itself, bitwise. The time of a kit is that of its own
        blocks and of the trunk before them, as if no other used the trunk; side streams that run
        together count as part of the trunk.

    Raises:
        UsageError: The images have another shape.
    """
    outputs: dict[str, dict[tuple[int, int], Outputs]] = {name: {} for name in predictors}
    seconds = dict.fromkeys(predictors, 0.0)
    for one in passes_of(predictors):
        going = [(name, place) for name, place in one.models if name not in failed]
        for name, place, made, took in _run(one, going, predictors, images, failed):
            outputs[name][one.view, place] = made
            seconds[name] += 0.0 if place else took
    computed: dict[str, Computed] = {}
    for name, predictor in predictors.items():
        with _apart(name, failed):
            if name not in failed:
                own = outputs.pop(name)
                models = range(len(predictor.models))
                views = [[own[number, place] for place in models] for number in predictor.views]
                merged = owned(f"kit {name}", functools.partial(predictor.merged, views))
                computed[name] = Computed(outputs=merged, seconds=seconds[name])
    return computed


def _run(
    one: Pass,
    going: Sequence[tuple[str, int]],
    predictors: Mapping[str, Predictor],
    images: Tensor,
    failed: dict[str, MoekitError],
) -> Iterator[tuple[str, int, Outputs, float]]:
    """Runs a pass; yields kit, place of the model, its outputs and its seconds."""
    if not going:
        return
    backbone, device = predictors[going[0][0]].backbone, predictors[going[0][0]].device
    models = [predictors[name].models[place] for name, place in going]
    trunk, began = 0.0, time.perf_counter()
    images = images.to(device, non_blocking=True)
    seen = view(images, one.view) if one.view else images
    with autocast(device, one.arithmetic):
        for stop in walk(backbone, seen, models, top_k=one.top_k, tokens=one.tokens):
            reached = time.perf_counter()
            trunk += reached - began
            name, place = going[stop.model]
            made: Outputs | None = None
            with _apart(name, failed):
                if name not in failed:
                    made = owned(
                        f"kit {name}",
                        functools.partial(predictors[name].outputs_at, stop, place, one.view),
                    )
            del stop  # its tensors are gone when the trunk goes on
            if made is not None:
                yield name, place, made, trunk + time.perf_counter() - reached
            began = time.perf_counter()


ComputesKits = Callable[[Sequence[str], Tensor, dict[str, MoekitError]], Mapping[str, Computed]]
"""From names of kits, normalised images and the errors of kits that failed, which it adds to."""


def answer_together(
    kits: Mapping[str, Trained],
    read: Callable[[int, int | None], Sequence[Stack]],
    *,
    batch_size: int,
) -> Answers:
    """The answers of several kits to the same pictures.

    Args:
        kits: By name, all of one backbone.
        read: Gives the RGB pictures of each input, from frames and bits as of `Preprocess`.
        batch_size: Pictures or stacks a forward pass.
    """

    def compute(
        names: Sequence[str], images: Tensor, failed: dict[str, MoekitError]
    ) -> Mapping[str, Computed]:
        return compute_together({name: kits[name].predictor for name in names}, images, failed)

    answerers = {name: one.answerer for name, one in kits.items()}
    return answer_by(answerers, compute, read, batch_size=batch_size)


def answer_by(
    kits: Mapping[str, Answerer],
    compute: ComputesKits,
    read: Callable[[int, int | None], Sequence[Stack]],
    *,
    batch_size: int,
) -> Answers:
    """The same of kits that something else computes, such as graphs.

    Args:
        kits: By name.
        compute: Computes those of them that read pictures alike.
        read: As of `answer_together`.
        batch_size: Likewise.
    """
    answers = Answers()
    failed = answers.failed
    found: dict[str, dict[int, Answer]] = {name: {} for name in kits}
    groups: dict[Preprocess, dict[str, Answerer]] = {}
    for name, one in kits.items():
        groups.setdefault(one.preprocess, {})[name] = one
    for preprocess, group in groups.items():
        try:
            stacks = read(preprocess.frames, preprocess.bits)
            for batch in stack_batches(stacks, preprocess, batch_size=batch_size):
                for name, row, answer in _answer_batch(batch, group, compute, batch_size, failed):
                    found[name][row] = answer
        except MoekitError as error:  # of the pictures, or of the trunk
            for name in group:
                failed.setdefault(name, error)
    for name, fault in failed.items():
        _logger.warning("the kit %s has no answers: %s (%s)", name, fault.what, fault.whose)
    for name in kits:
        if name not in failed:
            answers[name] = [found[name][row] for row in sorted(found[name])]
    return answers


def _answer_batch(
    batch: ImageBatch,
    kits: Mapping[str, Answerer],
    compute: ComputesKits,
    batch_size: int,
    failed: dict[str, MoekitError],
) -> Iterator[tuple[str, int, Answer]]:
    """Yields kit, row and answer; the kits read pictures alike."""
    first = next(iter(kits.values()))
    assemblies = {name: Assembly(one.task, one.context) for name, one in kits.items()}
    for step in steps(batch, first.preprocess, batch_size):
        for name, computed in compute(list(kits), step.images, failed).items():
            with _apart(name, failed):
                call = functools.partial(
                    _answers, kits[name], assemblies[name], batch, step, computed
                )
                for item, answer in owned(f"kit {name}", call):
                    yield name, int(item.id), answer


def _answers(
    answerer: Answerer, assembly: Assembly, batch: ImageBatch, step: Step, computed: Computed
) -> list[tuple[Item, Answer]]:
    part = assembly.add(step, computed)
    if part is None:
        return []
    items = items_of(batch, part, str)
    return list(zip(items, answerer.answers(part.computed.kit, items), strict=True))


@contextlib.contextmanager
def _apart(kit: str, failed: dict[str, MoekitError]) -> Iterator[None]:
    """What a kit's part raises is kept for that kit."""
    try:
        yield
    except MoekitError as error:
        failed.setdefault(kit, error)
