"""Checks of tasks: of the record, and of what its functions hand to each other.

The task's example data go through its example head on a small backbone of random weights.

Shapes: B images or stacks, N items of a split.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moekit.contract.answers import Answer
from moekit.contract.tasks import TaskSpec
from moekit.data.samples import SPLITS
from moekit.data.views import VIEWS
from moekit.files import read_json
from moekit.prediction.predict import predict
from moekit.runtime.load import load_answerer
from moekit.testing.check import check
from moekit.testing.examples import private_folders
from moekit.testing.outputs import outputs_of, require_fields
from moekit.testing.reference import run_kit, small_backbone
from moekit.testing.subject import Subject
from moekit.testing.task_bench import Bench, ready_for_json, registry_of
from moekit.testing.verdicts import require

_NEEDED_COLUMNS = ("verdict", "overlay", "error")


def _spec(subject: Subject, name: str) -> TaskSpec:
    spec: TaskSpec = subject.record("tasks", name)
    return spec


def _bench(subject: Subject, name: str, folder: Path) -> Bench:
    return Bench(_spec(subject, name), folder, home=subject.plugin.distribution)


@check("task")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary and a source; its fields and columns have names of the right form."""
    spec = _spec(subject, name)
    require(bool(spec.summary.strip() and spec.source.strip()), "summary or source is empty")
    require(bool(spec.outputs), "it declares no outputs")
    names = [field.name for field in (*spec.outputs, *spec.derived)]
    require(len(set(names)) == len(names), f"two fields have one name: {names}")
    for field in (*spec.outputs, *spec.derived):
        named = bool(field.short) and field.axes.startswith("B")
        require(named, f"{field.name} does not end with axes, B first")
        require(bool(field.summary.strip()), f"the summary of {field.name} is empty")
    columns = spec.show.columns
    missing = [column for column in _NEEDED_COLUMNS if column not in columns]
    require(not missing, f"show.columns lacks {', '.join(missing)}")
    require(len(set(columns)) == len(columns) and "file" not in columns, "a column comes twice")
    known = not spec.show.monitor or spec.show.monitor in columns
    require(known, f"show.monitor is {spec.show.monitor!r}, which is no column")


@check("task")
def names_its_metrics(subject: Subject, name: str) -> None:
    """The metrics that it names are installed, and are of this task."""
    spec = _spec(subject, name)
    require(bool(spec.metrics), "it names no metric")
    registry = registry_of(spec)
    for short in spec.metrics:
        full = registry.full_name("metrics", short, subject.plugin.distribution)
        of = registry.metric(full).task
        require(of.rpartition("/")[2] == spec.name, f"the metric {short} is of the task {of}")


@check("task")
def brings_an_example(subject: Subject, name: str) -> None:
    """Its example is a split set with files, from which it accepts to learn."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        for split in SPLITS:
            require(bool(bench.dataset.split(split)), f"no sample is in the split {split}")
        ids = [sample.id for sample in bench.dataset.samples]
        require(len(set(ids)) == len(ids), "two samples have one id")
        for sample in bench.dataset.samples:
            require(sample.path.is_file(), f"{sample.id}: there is no such file")
            require(sample.path.is_relative_to(folder), f"{sample.id}: it is not in the folder")
        bench.spec.learn.check(bench.dataset)


@check("task")
def gives_what_it_declares(subject: Subject, name: str) -> None:
    """Its example head gives the declared outputs: one row an item, finite, in their bounds."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        images = bench.images(bench.dataset.split("train")[:3])
        found = outputs_of(bench.runtime, bench.modules, images)
        require_fields(found, bench.spec, len(images))
        derived = bench.spec.answering.derive(bench.answered("val").merged)
        wanted = {field.name for field in bench.spec.derived}
        require(set(derived) == wanted, f"derive gives {sorted(derived)}, not {sorted(wanted)}")


@check("task")
def learns(subject: Subject, name: str) -> None:
    """In each view targets fit the samples, and the loss is a finite number.

    Its gradient reaches every parameter of the example head.
    """
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        bench.modules.train()
        samples = bench.dataset.split("train")[:8]
        learn = bench.learn()
        for views in (np.zeros(len(samples), np.int64), np.arange(len(samples)) % VIEWS):
            bench.modules.zero_grad()
            targets = learn.targets(samples, views, bench.frame)
            wrong = [key for key, value in targets.items() if len(value) != len(samples)]
            require(not wrong, f"targets for {len(samples)} samples: {', '.join(wrong)}")
            images = bench.images(samples, views)
            outputs = outputs_of(bench.runtime, bench.modules, images, targets)
            loss = learn.loss(outputs, targets, bench.kit.recipe)
            require(loss.ndim == 0, f"the loss has the shape {tuple(loss.shape)}, not ()")
            require(bool(loss.isfinite()), f"the loss is {loss.item()}")
            loss.backward()  # type: ignore[no-untyped-call]
            unreached = [
                key
                for key, value in bench.modules.head.named_parameters()
                if value.grad is None or not value.grad.isfinite().all()
            ]
            require(not unreached, f"no finite gradient for {', '.join(unreached[:5])}")


@check("task")
def merges_views(subject: Subject, name: str) -> None:
    """One view is merged to itself; those of turned pictures to outputs of the declared form."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        samples = bench.dataset.split("val")[:3]
        views = [bench.outputs(samples, number) for number in range(VIEWS)]
        merge, single = bench.spec.answering.merge, views[0]
        merged = merge([single])
        same = set(merged) == set(single) and all(
            bool((merged[key] == value).all()) for key, value in single.items()
        )
        require(same, "one view is changed by merging it")
        for count in (2, 4, VIEWS):
            require_fields(merge(views[:count]), bench.spec, len(samples))


@check("task")
def answers_each_item(subject: Subject, name: str) -> None:
    """Each item has one answer: a verdict, and values of the columns that are ready for JSON."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        found = bench.answered("test")
        point = bench.point()
        # As `moekit predict` asks: an item has no sample there.
        items = bench.without_truth(found.items)
        answers = bench.spec.answering.answers(found.merged, items, point, bench.context)
        require(len(answers) == len(items), f"{len(answers)} answers for {len(items)} items")
        for answer in answers:
            _check_answer(bench.spec, answer)
        blank = bench.spec.answering.unreadable(point)
        _check_row(bench.spec, blank, "the row of an unreadable item")


def _check_answer(spec: TaskSpec, answer: Answer) -> None:
    verdict, monitor = answer.verdict, answer.monitor
    require(isinstance(verdict, str) and verdict.strip() != "", f"a verdict is {verdict!r}")
    number = monitor is not None and bool(np.isfinite(monitor))
    require(number or not spec.show.monitor, f"the number to watch by is {monitor}")
    row = answer.as_row()
    _check_row(spec, row, "the row of an answer")
    said = row.get("verdict", verdict)
    require(said == verdict, f"the verdict is {verdict!r}, and {said!r} in its row")
    for column, (suffix, content) in spec.show.files(answer).items():
        require(column in spec.show.columns, f"a file's column {column!r} is not in show.columns")
        require(suffix.startswith(".") and isinstance(content, bytes), f"the file {column} is odd")


def _check_row(spec: TaskSpec, row: dict[str, Any], what: str) -> None:
    unknown = set(row) - set(spec.show.columns)
    require(not unknown, f"{what} has {', '.join(sorted(unknown))}, which show.columns lacks")
    ready_for_json(row, what)


@check("task")
def draws_or_does_not(subject: Subject, name: str) -> None:
    """An answer is drawn as a picture, or not, with or without its truth; it has a caption."""
    with private_folders() as folder:
        bench = _bench(subject, name, folder)
        found, point, show = bench.answered("test"), bench.point(), bench.spec.show
        answers = bench.spec.answering.answers(found.merged, found.items, point, bench.context)
        for place in range(2):
            item, answer = found.items[place], answers[place]
            caption = show.caption(answer, item, bench.context)
            require(isinstance(caption, str), f"a caption is {caption!r}")
            for known in (item, bench.without_truth([item])[0]):
                picture = Image.new("RGB", (item.size[1], item.size[0]))
                drawn = show.draw(picture, answer, known, bench.context)
                fine = drawn is None or isinstance(drawn, Image.Image)
                require(fine, f"draw gives a {type(drawn).__name__}")


@check("task")
def runs_from_end_to_end(subject: Subject, name: str) -> None:
    """A kit is adapted, evaluated and asked; twice with one seed its files are the same bytes.

    A metric may be missing if a note of the result says why.
    """
    written = []
    for _ in range(2):
        with private_folders() as folder:
            bench = _bench(subject, name, folder)
            run_kit(bench.kit, bench.dataset, folder / "run", bench.registry)
            _check_result(bench, read_json(folder / "run" / "result.json"))
            _predict(bench, folder / "out")
            written.append(_bytes(folder))
    require(written[0].keys() == written[1].keys(), "two runs write other files")
    other = [path for path, content in written[0].items() if written[1][path] != content]
    require(not other, f"two runs differ in {', '.join(other[:3])}")


def _check_result(bench: Bench, result: dict[str, Any]) -> None:
    ready_for_json(result, "result.json")
    require(result["task"] == bench.spec.name, f"result.json is of the task {result['task']}")
    noted = {note.partition(" ")[0] for note in result["notes"]}
    wanted = {metric.name for metric in bench.resolved.metrics}
    missing = sorted(wanted - set(result["metrics"]) - noted)
    require(not missing, f"not reported: {', '.join(missing)}")
    headline = bench.resolved.metrics[0].name
    require(headline in result["metrics"], f"the headline {headline} is not computed")


def _predict(bench: Bench, out: Path) -> None:
    backbone, registry = small_backbone(), bench.registry
    _, answerer = load_answerer(bench.run, bench.kit, backbone=backbone, registry=registry)
    inputs = [(sample.id, sample.path) for sample in bench.dataset.split("test")]
    broken = bench.folder / "broken.png"
    broken.write_bytes(b"no image")
    rows = predict(
        [*inputs, (broken.name, broken)],
        answerer=answerer,
        provenance={},
        out=out,
        batch_size=3,
        on_progress=lambda *_: None,
    )
    require(len(rows) == len(inputs) + 1, f"{len(rows)} rows for {len(inputs) + 1} inputs")
    ready_for_json(rows, "predictions.jsonl")
    ready_for_json(dict(bench.spec.show.gather(out, rows)), "show.gather")


def _bytes(folder: Path) -> dict[str, bytes]:
    """The content of what must repeat itself: tallies, and all that predicting writes."""
    kept: Sequence[str] = ("run/validation*", "run/predictions*", "run/routing.json", "out/**/*")
    paths = {path for pattern in kept for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}
