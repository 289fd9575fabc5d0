"""The frozen records that plugins return from their hooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import click
    import numpy as np
    from PIL.Image import Image
    from torch import nn

    from moekit.data.map_counts import MapCounts
    from moekit.data.predictions import Predictions
    from moekit.data.samples import Dataset
    from moekit.moe.gates import Gate
    from moekit.moe.specialists import SpecialistExpert
    from moekit.plugins.fitting import FitResult, FitTask
    from moekit.training.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertSpec:
    """A specialist that kits can place in the backbone's blocks.

    Attributes:
        name: Short name, unique in its distribution.
        build: Makes one expert for tokens of the given width; its output must be zero at the start.
        summary: One line for lists.
        source: Paper or standard.
    """

    name: str
    build: Callable[[int], SpecialistExpert]
    summary: str
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateSpec:
    """A gating policy: how scores become chosen experts and weights.

    Attributes:
        name: Short name, unique in its distribution.
        build: Makes the gate.
        summary: One line for lists.
        source: Paper or standard.
        weights: `unit`: each chosen expert has weight 1. `normalised`: the weights of a token sum
            to 1. `free`: neither, but none is negative.
        count: Experts that a token gets: `exact` k, `at_most` k, or k in the `mean`.
    """

    name: str
    build: Callable[[], Gate]
    summary: str
    source: str
    weights: Literal["unit", "normalised", "free"] = "normalised"
    count: Literal["exact", "at_most", "mean"] = "exact"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A loader, named on the command line as `--data NAME` or `--data NAME=PATH`.

    Attributes:
        name: Short name, unique in its distribution.
        load: Called with the path (None where none was given) and the seed; returns samples that
            are already split. A set that brings its own splits keeps them.
        summary: One line for lists.
        takes_path: Whether a path is `required`, `optional` or `refused`.
        licence: Terms of the data.
        example: Writes a small set that the loader can read into an empty folder and returns the
            path to load; conformance checks need it of loaders that take a path.
    """

    name: str
    load: Callable[[Path | None, int], Dataset]
    summary: str
    takes_path: Literal["required", "optional", "refused"]
    licence: str
    example: Callable[[Path], Path] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricExample:
    """An answer that is known from elsewhere, against which a metric is checked.

    Attributes:
        scores: Scores in [0, 1].
        labels: Labels, 0 or 1.
        threshold: The operating threshold.
        value: What the metric must give, to 1e-9.
        source: Who says so: a library with its version, a paper, or the arithmetic itself.
    """

    scores: tuple[float, ...]
    labels: tuple[int, ...]
    threshold: float
    value: float
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """A number computed from scores and labels.

    Attributes:
        name: Short name, unique in its distribution.
        compute: Called with scores (n,) float64 in [0, 1], labels (n,) int64 in {0, 1} and the
            operating threshold (a score at or above it is positive); returns the value, or nan
            where it is undefined (one class only, nothing there).
        higher_is_better: The direction of improvement.
        bounds: Least and greatest value.
        summary: One line for lists and reports.
        source: Paper, standard or library.
        examples: Known answers; conformance checks need at least one.
    """

    name: str
    compute: Callable[[np.ndarray, np.ndarray, float], float]
    higher_is_better: bool
    bounds: tuple[float, float]
    summary: str
    source: str
    examples: tuple[MetricExample, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapMetricExample:
    """An answer on small maps that is known from elsewhere.

    Attributes:
        maps: Of each image the rows of its map, values in [0, 1]; at most 1,000 different values in
            all, and as many rows and columns as its mask has, so that nothing is rounded.
        masks: Of each image the rows of its mask, 1 where it is positive, 0 elsewhere.
        value: What the metric must give, to 1e-9.
        source: Who says so: a library with its version, a paper, or the arithmetic itself.
    """

    maps: tuple[tuple[tuple[float, ...], ...], ...]
    masks: tuple[tuple[tuple[int, ...], ...], ...]
    value: float
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapMetricSpec:
    """A number computed from maps and masks: how well a kit says where an image is positive.

    Attributes:
        name: Short name, unique in its distribution.
        compute: Called with the counts of pixels over thresholds (`moekit.MapCounts`), which it
            leaves alone and whose weights it minds; returns the value, or nan where it is undefined
            (no positive region, no negative pixel).
        higher_is_better: The direction of improvement.
        bounds: Least and greatest value.
        summary: One line for lists and reports.
        source: Paper, standard or library.
        examples: Known answers; conformance checks need at least one.
    """

    name: str
    compute: Callable[[MapCounts], float]
    higher_is_better: bool
    bounds: tuple[float, float]
    summary: str
    source: str
    examples: tuple[MapMetricExample, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecialistSlot:
    """Where a kit puts specialists: one set of experts, with its own router rows, in one block.

    Attributes:
        block: Index of the backbone's block; negative counts from the end.
        experts: Names of registered experts; the same name twice makes two experts.
        gate: Name of a registered gate.
        top_k: How many of the set's options (its experts and "none") a token may take.
    """

    block: int
    experts: tuple[str, ...]
    gate: str
    top_k: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictTask:
    """What a kit is handed that predicts in its own way.

    Attributes:
        inputs: Files and folders, as they were given.
        out: The output folder; nothing is written elsewhere.
        score: Gives pictures (RGB, any size) their probabilities, (n,) float64 in [0, 1]. Where
            `frames` is not 1 it takes stacks, each a sequence of that many pictures.
        threshold: Operating threshold, chosen on validation data.
        provenance: What the scores depend on, for the outputs.
        batch_size: Pictures a forward pass.
        on_progress: Called with a description, what is done and the total.
        frames: Pictures of a stack, as the run was trained with; 1 for single pictures.
    """

    inputs: tuple[Path, ...]
    out: Path
    score: Callable[[Sequence[Image | Sequence[Image]]], np.ndarray]
    threshold: float
    provenance: Mapping[str, Any]
    batch_size: int
    on_progress: Callable[[str, int, int], None]
    frames: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitSpec:
    """A domain kit.

    Attributes:
        name: Short name, the KIT of the command line.
        summary: One line for lists.
        slots: The specialists.
        head_blocks: Blocks whose output the head reads; negative counts from the end.
        build_head: Makes the task head from the width and the number of head blocks; called as
            `head(tokens, grid)` with one (B, N, D) tensor per head block, it returns a
            `moekit.runtime.HeadOutput`. Of stacks B counts the frames, and the output has one row
            for each `grid.frames` of them.
        recipe: How `moekit adapt` trains.
        metrics: Names of the metrics that an evaluation reports, the headline first.
        positive: What a high score means, in one word (such as "defective").
        outcome_names: The field's words for `missed` positives and `false_alarm`s.
        demo_dataset: The `--data` value of `moekit demo`.
        disclaimer: A sentence for every output; empty for none.
        predict: Takes the place of the core's way of scoring images one by one, for inputs that are
            no plain images; returns a JSON-ready summary. None for plain images.
        demo_inputs: Inputs that `moekit demo` predicts after the evaluation, by a name for their
            output folder; called with a folder for files that must be made. None for no such part.
        stack_experts: Names of registered experts that each slot gets too where samples are stacks
            of frames; images are not touched by them.
        threshold_rule: How the operating threshold is chosen where the user names no rule.
        fit: Takes the place of the core's training loop, which needs samples of both classes; None
            for that loop.
        negatives_only: The kit for data whose training split holds negatives alone: of the same
            name, with a `fit` and a `threshold_rule` that need no positives. None where the kit
            cannot learn from such data.
        map_metrics: Names of the map metrics that an evaluation reports after the others, where the
            head gives maps and samples have masks.
    """

    name: str
    summary: str
    slots: tuple[SpecialistSlot, ...]
    head_blocks: tuple[int, ...]
    build_head: Callable[[int, int], nn.Module]
    recipe: Recipe
    metrics: tuple[str, ...]
    positive: str
    outcome_names: Mapping[str, str]
    demo_dataset: str
    disclaimer: str = ""
    predict: Callable[[PredictTask], dict[str, Any]] | None = None
    demo_inputs: Callable[[Path], Mapping[str, Path]] | None = None
    stack_experts: tuple[str, ...] = ()
    threshold_rule: str = "accuracy"
    fit: Callable[[FitTask], FitResult] | None = None
    negatives_only: KitSpec | None = None
    map_metrics: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthCheckSpec:
    """A question that `moekit plugins doctor` asks: is what the plugin needs there, and sound?

    Attributes:
        name: Short name, unique in its distribution.
        run: Returns None when all is well, else one sentence that says what is wrong and what to
            do. It changes nothing and takes seconds at most.
        summary: The question, in one line.
    """

    name: str
    run: Callable[[], str | None]
    summary: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A command of `moekit`.

    What `moekit --help` shows is the manifest's table [provides.commands], since help imports no
    plugin; the summary here must say the same. moekit's own commands cannot be replaced: a command
    of the same name is reached as `moekit DISTRIBUTION/NAME` alone, and so is one of a name that
    several plugins give.

    Attributes:
        name: Short name, what is typed after `moekit`.
        build: Makes the click command; called when the command is, so that neither click nor the
            command's own libraries are imported before. `moekit.command_options` adds `--json` and
            `--debug`. It tells a failure by raising a `moekit.MoekitError`, ends early with
            `ctx.exit(code)`, and what it returns is ignored; anything else that it raises is told
            as the plugin's fault, exit code 3.
        summary: One line, as in the manifest.
    """

    name: str
    build: Callable[[], click.Command]
    summary: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportTable:
    """A table of a report; every cell is plain text and is escaped.

    Attributes:
        columns: Headings.
        rows: As many cells each as there are columns.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A section of a report.

    Attributes:
        title: Its heading.
        paragraphs: Plain text, before the tables.
        tables: Tables.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[ReportTable, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a section is made from.

    Attributes:
        result: The content of result.json.
        record: The content of run.json; empty where the folder has none.
        predictions: Scores and labels of the evaluated split, or None where they are gone.
        validation: The same of the validation split, or None.
    """

    result: Mapping[str, Any]
    record: Mapping[str, Any]
    predictions: Predictions | None
    validation: Predictions | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSectionSpec:
    """A section that reports of certain kits get.

    Attributes:
        name: Short name, unique in its distribution.
        kits: Names of the kits whose reports get it.
        render: Makes it; quick, and without side effects.
        summary: One line for lists.
    """

    name: str
    kits: tuple[str, ...]
    render: Callable[[ReportContext], ReportSection]
    summary: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEvent:
    """What a listener is told of a run.

    Attributes:
        command: `adapt` or `evaluate`.
        folder: The run folder. A listener may add files of its own, and changes no others.
        kit: Name of the kit.
        dataset: Name of the data set.
        record: Of a started run the request; of a finished one the content of run.json or
            result.json.
    """

    command: Literal["adapt", "evaluate"]
    folder: Path
    kit: str
    dataset: str
    record: Mapping[str, Any]
