"""What a task is: how an answer is learned, given, judged and shown.

A task is a record of small functions. Its heads return named tensors, `Outputs`; everything between
the head and the files of a run hands those tensors on and knows nothing of their meaning.

Shapes: B items of a batch, N items of a split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from moekit.contract.answers import Answer, Item, Tallier, TaskContext
from moekit.contract.outputs import Field, HeadSite, Outputs
from moekit.contract.recipe import Recipe
from moekit.contract.report import ReportContext, ReportSection
from moekit.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

    from moekit.data.geometry import Box, Frame, Size
    from moekit.data.samples import Dataset, Sample


def _accept(dataset: Dataset) -> None:
    del dataset


def _no_figures(outputs: Outputs, targets: Outputs) -> Mapping[str, float]:
    del outputs, targets
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learn:
    """How a task is learned.

    Attributes:
        targets: Called with samples, the numbers of their views (B,) and the frame; returns what
            `loss` compares with, turned and flipped as the views are.
        loss: Called with the head's outputs, the targets and the recipe; returns the mean loss, ().
        check: Refuses data that cannot be learned from by a `DataError`.
        figures: Quick figures of an epoch from the merged outputs and the targets of the validation
            split, by short names.
        prepared: Called once with the samples of the training split; returns the record to learn
            with, whose targets may depend on that split. None if they do not.
    """

    targets: Callable[[Sequence[Sample], np.ndarray, Frame], Outputs]
    loss: Callable[[Outputs, Outputs, Recipe], Tensor]
    check: Callable[[Dataset], None] = _accept
    figures: Callable[[Outputs, Outputs], Mapping[str, float]] = _no_figures
    prepared: Callable[[Sequence[Sample]], Learn] | None = None


def _nothing_derived(outputs: Outputs) -> Outputs:
    del outputs
    return {}


class Whole(Protocol):
    """Puts the outputs of the windows of one large picture together; see `Answering.whole`."""

    def add(self, boxes: Sequence[Box], outputs: Outputs) -> None:
        """Takes some windows.

        Args:
            boxes: (B) where they lie in the picture; each fits the input as a picture of its own.
            outputs: Their merged outputs.
        """
        ...

    def finish(self) -> Outputs:
        """The outputs of the picture: one row, with its sides as `Frame` says, squashed."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """A number in [0, 1] of a point that a reader of answers may move, such as a threshold.

    Attributes:
        of: The number of a point; of one with several, their mean. None if this point has none.
        moved: The point with another number; one with several has it in the place of each.
    """

    of: Callable[[Any], float | None]
    moved: Callable[[Any, float], Any]


def _empty_row(point: Any) -> dict[str, Any]:
    del point
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answering:
    """How outputs become answers.

    Attributes:
        merge: Called with the outputs of each view of the same items, the picture as it is first;
            fields that turn are turned back already (`Field.turns`). Averages them, as a rule. It
            is part of exported graphs.
        answers: Called with merged outputs, items, the point and the context; returns one answer an
            item.
        unreadable: Values of a row whose item could not be read, given the point.
        derive: Further named tensors that graphs put out, computed from merged outputs; described
            by `TaskSpec.derived`.
        whole: Makes what puts the outputs of the windows of one picture together, for the size
            (H, W) of the picture and the context. Its outputs cover `Frame(height=H, width=W)`,
            which items then bear. The task's targets and talliers read `Sample.window` and
            `Item.frame`. None if the task only answers whole pictures.
        level: What of the point a reader of answers may move; None if nothing.
    """

    merge: Callable[[Sequence[Outputs]], Outputs]
    answers: Callable[[Outputs, Sequence[Item], Any, TaskContext], Sequence[Answer]]
    unreadable: Callable[[Any], dict[str, Any]] = _empty_row
    derive: Callable[[Outputs], Outputs] = _nothing_derived
    whole: Callable[[Size, TaskContext], Whole] | None = None
    level: Level | None = None


def _no_point(tally: Any, rule: str) -> None:
    del tally, rule


def _no_words(context: TaskContext, point: Any) -> dict[str, Any]:
    del context, point
    return {}


def _no_outcome(tally: Any, point: Any, context: TaskContext) -> Sequence[str]:
    del tally, point, context
    return ()


def _no_facts(tally: Any) -> dict[str, Any]:
    del tally
    return {}


def _as_it_is(summary: dict[str, Any], job: SummaryJob) -> dict[str, Any]:
    del job
    return summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class SummaryJob:
    """What `Judge.complete` adds to a summary from.

    Attributes:
        tallies: Of the kit and, if there is one, of the baseline.
        points: Of each.
        metrics: The metrics that the kit reports, as `MetricSpec` records.
        seed: Of the bootstrap.
        resamples: How many samples it draws.
    """

    tallies: Sequence[Any]
    points: Sequence[Any]
    metrics: Sequence[Any]
    seed: int
    resamples: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """How answers are judged.

    Attributes:
        tallier: Makes what adds up a split, for a context and a number of models.
        save: Writes the tallies of a split into a folder as files whose names begin with the given
            stem, and returns their names.
        load: Reads them again; raises a `DataError` that names a damaged file. Empty if there are
            none.
        rules: The rules by which a point can be chosen, as help shows them; the default first.
        choose: Called with the validation tally of a model and a rule; returns the point, or None
            if the task has none.
        words: What result.json says of the point and of the kit's words.
        facts: Counts of a tally for result.json, such as how many items are positive.
        outcome: Sentences that count what a tally comes to at a point, for people who read no
            metrics; called with the tally, the point and the context.
        check: Refuses a tally with impossible values by a `DataError`.
        compare: A paired test of kit and baseline for result.json; None if none applies.
        complete: Adds to a summary what the general engine does not compute.
        reference: Monitor values that a line is compared with, from the validation tally; None
            if the task cannot be watched.
        review: Called with the tally, the point and the text of `--review`; returns the point with
            its review zone. None if the task has no such zone.
        quantised: Compares the tally of a graph in int8 with that of the same graph in float32 by
            the greatest loss allowed (None for the task's own), and returns facts for the export's
            record; raises a `MoekitError` if the loss is greater. None compares the headline.
        check_rule: Called before a training with a rule that a user names and the samples of the
            validation split; raises a `UsageError` if the rule is unknown and a `DataError` if the
            samples cannot do for it. None leaves it to `choose`.
        read: Reads answers that a peer wrote into a file or folder, for the samples of a split, and
            returns a tally; None if the task reads none.
        lacking: Why a tally has no such field, or a point no such attribute, by its name: a clause
            such as "the answers hold no open-set score". A note on a metric that needs it says so.
    """

    tallier: Callable[[TaskContext, int], Tallier]
    save: Callable[[Path, str, Sequence[Any]], list[str]]
    load: Callable[[Path, str], tuple[Any, ...]]
    rules: tuple[str, ...] = ()
    choose: Callable[[Any, str], Any] = _no_point
    words: Callable[[TaskContext, Any], dict[str, Any]] = _no_words
    facts: Callable[[Any], dict[str, Any]] = _no_facts
    outcome: Callable[[Any, Any, TaskContext], Sequence[str]] = _no_outcome
    check: Callable[[Sequence[Any]], None] = _no_facts  # type: ignore[assignment]
    compare: Callable[[Any, Any], dict[str, Any] | None] | None = None
    complete: Callable[[dict[str, Any], SummaryJob], dict[str, Any]] = _as_it_is
    reference: Callable[[Any], np.ndarray] | None = None
    review: Callable[[Any, Any, str], Any] | None = None
    quantised: Callable[[Any, Any, float | None], dict[str, Any]] | None = None
    check_rule: Callable[[str, Sequence[Sample]], None] | None = None
    read: Callable[[Path, Sequence[Sample], TaskContext], Any] | None = None
    lacking: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _no_picture(
    picture: Image, answer: Answer, item: Item | None, context: TaskContext
) -> Image | None:
    del picture, answer, item, context
    return None


def _none_right(tally: Any, point: Any) -> Mapping[str, np.ndarray]:
    del tally, point
    return {}


def _no_sections(context: ReportContext) -> Sequence[ReportSection]:
    del context
    return ()


def _verdict(answer: Answer, item: Item, context: TaskContext) -> str:
    del item, context
    return answer.verdict


def _no_files(answer: Answer) -> Mapping[str, tuple[str, bytes]]:
    del answer
    return {}


def _nothing_gathered(out: Path, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    del out, rows
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Show:
    """How answers are shown.

    Attributes:
        columns: Columns of predictions.csv after `file`; `verdict`, `overlay` and `error` are among
            them.
        draw: Called with the reduced picture of an item, its answer, the item and the context;
            returns an overlay, or None for none.
        right: Called with the kit's tally and the point; returns the positions of items that are
            answered rightly, the clearest first, by a word for them. A report shows some of them
            next to the worst.
        sections: The task's sections of a report. Those whose titles are in
            `moekit.contract.report.JOINED` add to the page's own.
        names: How the page writes names of figures, such as `mIoU` for `miou`.
        files: Files of an answer next to its overlay: by column, the file's suffix (`.png`) and its
            bytes. They are written to OUT/COLUMN/NAME.SUFFIX, and the row names them.
        caption: Called with an answer, its item and the context; returns a line for its picture.
        monitor: The column that a line is watched by; empty if the task has none.
        quiet: Verdicts that need nobody's attention; a watch draws no overlay of them.
        gather: Called at the end with the output folder and all rows; writes a file for the whole
            set and returns facts for the summary.
    """

    columns: tuple[str, ...]
    draw: Callable[[Image, Any, Item | None, TaskContext], Image | None] = _no_picture
    right: Callable[[Any, Any], Mapping[str, np.ndarray]] = _none_right
    sections: Callable[[ReportContext], Sequence[ReportSection]] = _no_sections
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Callable[[Any], Mapping[str, tuple[str, bytes]]] = _no_files
    caption: Callable[[Any, Item, TaskContext], str] = _verdict
    monitor: str = ""
    quiet: tuple[str, ...] = ()
    gather: Callable[[Path, Sequence[Mapping[str, Any]]], Mapping[str, Any]] = _nothing_gathered


def _one_class(point: Any) -> bool:
    del point
    return False


def _no_margin(answer: Any, point: Any) -> None:
    del answer, point


@dataclasses.dataclass(frozen=True, kw_only=True)
class Correcting:
    """How people confirm and correct answers of a task.

    Attributes:
        form: What a correction says of an image: its `class`, the `objects` in it, or the class of
            each pixel (`mask`). `moekit.corrections.labels` describes each form.
        loader: Name of the loader that reads such labels: of tables, of COCO files, or of masks.
        draft: Called with an answer, its item and the context; returns the answer in the form of a
            correction, which confirms it. None if it says nothing that could be confirmed.
        outlined: Whether objects need outlines.
        several: Called with the point; returns whether an image may have several classes.
        margin: Called with an answer and the point; returns how far it is from being another one,
            from 0 on. None if it cannot be told.
    """

    form: Literal["class", "objects", "mask"]
    loader: str
    draft: Callable[[Any, Item, TaskContext], Mapping[str, Any] | None]
    outlined: bool = False
    several: Callable[[Any], bool] = _one_class
    margin: Callable[[Any, Any], float | None] = _no_margin


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A kind of answer.

    Attributes:
        name: Short name, unique in its distribution.
        summary: One line for lists.
        source: Paper or standard.
        outputs: What heads return.
        derived: What graphs put out next to it; see `Answering.derive`.
        metrics: Names of the metrics that an evaluation reports if a kit names none, the
            headline first.
        learn: How it is learned.
        answering: How outputs become answers.
        judge: How answers are judged.
        show: How answers are shown.
        example: Writes a small split set with truth into an empty folder, for conformance checks.
        example_head: A small head, for the same.
        labelled: Whether `Sample.label` is the class of an item, by which routing is then shown.
        correcting: How answers are corrected; None if they cannot be.
    """

    name: str
    summary: str
    source: str
    outputs: tuple[Field, ...]
    metrics: tuple[str, ...]
    learn: Learn
    answering: Answering
    judge: Judge
    show: Show
    example: Callable[[Path], Dataset]
    example_head: Callable[[HeadSite], nn.Module]
    derived: tuple[Field, ...] = ()
    labelled: bool = True
    correcting: Correcting | None = None


class ItemReader(Protocol):
    """Turns the inputs of `moekit predict` into items; one input may hold many.

    The engine answers the items as it answers images: with a journal, so that a command that was
    killed goes on, and with overlays and files of the task.
    """

    def items(self, paths: Sequence[Path]) -> Iterator[tuple[str, Sequence[Image] | ImageError]]:
        """Yields the name of each item and its frames, RGB and of one size.

        Names are unique, are the same in each call, and are relative paths, since files of the
        output are called so. An `ImageError` in place of frames says why an item cannot be read.
        """
        ...

    def gather(self, rows: Sequence[Mapping[str, Any]], out: Path) -> dict[str, Any]:
        """Puts the items of each input together at the end.

        Args:
            rows: Of all items, in their order, as predictions.jsonl has them; `file` is the name.
            out: The output folder, to write a file for each input, or for all.

        Returns:
            JSON-ready facts for the summary.
        """
        ...
