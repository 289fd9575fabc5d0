"""The stored answers of another run, judged as a peer's and compared with those of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moekit.data.content import Contents
from moekit.data.samples import Dataset
from moekit.errors import DataError
from moekit.evaluation.evaluate import EvaluateJob
from moekit.evaluation.stored import Stored, read_stored
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, kit_of_run, resolve
from moekit.runs.choices import SPECIALIST
from moekit.runs.run import Run
from moekit.runtime.load import point_in_words, points_of
from moekit.text import visible_name

GIVEN, RUN = "given", "run"
"""The two sides of a comparison."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """Answers that are judged without a model.

    Attributes:
        name: What the given answers are called.
        tallies: Of the given answers and, if they are compared, of the run's own.
        points: Of each.
        content: SHA-256 of the given answers.
        point_in_words: The point of the given answers, and whose it is.
        facts: What the result says of both.
        notes: Sentences for the result.
        compared_with: What the run is called; empty if it is not compared.
    """

    name: str
    tallies: tuple[Any, ...]
    points: tuple[Any, ...]
    content: str
    point_in_words: tuple[str, ...]
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    compared_with: str = ""


def judged_run(
    job: EvaluateJob, given: Path, left: Dataset, resolved: Resolved, *, registry: Registry
) -> Judged:
    """The specialist's stored answers of another run, and of the job's run to the same images.

    Args:
        job: Says run, data and split.
        given: The folder of the other run.
        left: The data without the images that the job's run has learned from.
        resolved: The kit of the job's run.
        registry: The installed plugins.

    Raises:
        DataError: The other run's answers are not of these data, see `read_stored`, or are of none
            of the images that are left.
        UsageError: The rule is unknown.
    """
    contents, task = Contents(), resolved.task
    other = Run(given)
    name = f"the run {visible_name(given.resolve().name)}"
    # Images that the job's run has learned from may be among what the other one has answered.
    whole = read_stored(other, task, job.dataset, job.split, contents, name=name)
    answers = whole.of([sample.id for sample in left.split(job.split)])
    if not len(answers.tally):
        raise DataError(
            f"{name} has answered none of the images of the {job.split} split that are left",
            whose=str(given),
            fix="name a run that was evaluated on the same data",
            code="data/missing-answer",
        )
    record = other.read_finished()
    kit = kit_of_run(registry, record["request"]["kit"], record)
    point = points_of(other, resolve(kit, registry, frames=other.frames()), rule=job.rule)[0]
    facts = {
        "from_run": {
            "kit": record["request"]["kit"],
            "dataset": record["request"].get("dataset", ""),
            "model": SPECIALIST,
            "missing": list(answers.missing),
        }
    }
    notes = (*answers.notes, *answers.missing_in_words)
    told = tuple(point_in_words(point))
    own, why = _own(job, resolved, contents, answers)
    judged = Judged(
        name=name,
        tallies=(answers.tally,),
        points=(point,),
        content=answers.content,
        point_in_words=(f"{name} is judged by its own point", *told) if told else (),
        facts={**facts, "point_of": "from", "compared_with": {"run": None, "why": why}},
        notes=(*notes, *((why,) if why else ())),
    )
    if own is None:
        return judged
    return dataclasses.replace(
        judged,
        tallies=(answers.of(own.tally.ids).tally, own.tally),
        points=(point, points_of(job.run, resolved, rule=job.rule)[0]),
        facts={
            **judged.facts,
            "compared_with": {"run": own.name, "model": SPECIALIST, "missing": list(own.missing)},
        },
        notes=(*notes, *own.notes, *own.missing_in_words),
        compared_with=own.name,
    )


def _own(
    job: EvaluateJob, resolved: Resolved, contents: Contents, answers: Stored
) -> tuple[Stored | None, str]:
    """What the job's run has stored of the same images; or None, and why it is not compared."""
    folder = job.run.folder.resolve().name
    name = "the run itself" if job.kit.hides_paths else f"the run {visible_name(folder)}"
    try:
        own = read_stored(job.run, resolved.task, job.dataset, job.split, contents, name=name)
    except DataError as error:
        return None, f"{answers.name} is not compared with {name}: {error.what}; {error.fix}"
    own = own.of(answers.tally.ids)
    if not len(own.tally):
        return None, f"{answers.name} is not compared with {name}: no image was answered by both"
    return own, ""
