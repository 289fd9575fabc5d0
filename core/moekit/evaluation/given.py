"""Answers that a peer gave, or another run, judged by the same code as a kit's."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from moekit.contract.answers import TaskContext
from moekit.contract.tasks import TaskSpec
from moekit.errors import MoekitError, UsageError
from moekit.evaluation.evaluate import EvaluateJob, header, resolved_of
from moekit.evaluation.given_run import GIVEN, RUN, Judged, judged_run
from moekit.evaluation.learned import Read, left_for_peer
from moekit.evaluation.stored import is_run
from moekit.evaluation.summary import summarise
from moekit.files import read_json, sha256, sha256_of_files
from moekit.licences import as_json
from moekit.names import cut_bytes
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved
from moekit.runs.facts import machine, now, plugin_facts, versions
from moekit.runs.licences import data_link
from moekit.runs.run import PREDICTIONS, hashes_of
from moekit.runtime.load import point_in_words, points_of
from moekit.sealed import write_sealed
from moekit.text import visible_name

_LONGEST_NAME = 200
"""Bytes of the name of a folder; a hash fits next to it."""


def evaluate_given(job: EvaluateJob, given: Path, *, registry: Registry) -> dict[str, Any]:
    """Judges answers in the task's own format, or another run's stored ones, without a model.

    Those of a run are compared with those of the job's run by the task's paired test.

    Writes RUN/given/NAME/result.json and the tallies; the run's own result stays as it is. NAME is
    that of the file or folder. If other answers of that name, or those of another split, stand
    there, the beginning of a hash follows it.

    Args:
        job: Says run, data and split. A peer's point is the run's; another run's is its own.
        given: A file or folder with the answers, or the folder of a run.
        registry: The installed plugins.

    Returns:
        The content of that result.json.

    Raises:
        DataError: The answers cannot be read, or do not belong to the split.
        UsageError: The task reads no answers of others.
    """
    resolved, _ = resolved_of(job, registry)
    judge, whole = resolved.task.judge, job
    unlearned, read = left_for_peer(
        judge.read, job.run, job.dataset, job.split, duplicates=job.duplicates
    )
    job = dataclasses.replace(job, dataset=unlearned.dataset)
    context = resolved.context(
        classes=job.dataset.classes, frame=job.run.frame(), words=job.dataset.words
    )
    if is_run(given):
        judged = judged_run(whole, given, job.dataset, resolved, registry=registry)
    else:
        judged = _judged_file(job, given, read, resolved, context)
    point = judged.points[0]
    summary = summarise(
        judged.tallies,
        judged.points,
        resolved.metrics,
        task=resolved.task,
        seed=job.seed,
        baseline=judged.compared_with,
        sides={GIVEN: judged.name, RUN: judged.compared_with},
    )
    result = {
        **header(job, resolved, context, point, seed=job.seed),
        "foreign": True,
        "from": given.resolve().name,
        "from_sha256": judged.content,
        **judged.facts,
        **summary,
        "notes": [*job.dataset.notes, *judged.notes, *summary["notes"], *job.run.unsealed()],
        "samples": len(job.dataset.split(job.split)),
        "outcome_in_words": list(judge.outcome(judged.tallies[0], point, context)),
        "point_in_words": list(judged.point_in_words),
        "plugins": plugin_facts(registry.used()),
        "licences": as_json([data_link(job.dataset)]),
        "skipped": [dataclasses.asdict(skip) for skip in job.dataset.skipped],
        "versions": versions(),
        "machine": machine(),
        "data": job.dataset.terms,
        "learned_from": unlearned.as_json,
        "created": now(),
        "command": job.command,
    }
    folder = _place(job.run.folder / "given", given.resolve().name, judged.content, job.split)
    result["folder"] = folder.relative_to(job.run.folder).as_posix()
    folder.mkdir(parents=True, exist_ok=True)
    result["files"] = hashes_of(folder, judge.save(folder, PREDICTIONS, judged.tallies))
    return write_sealed(folder / "result.json", result)


def _judged_file(
    job: EvaluateJob, given: Path, read: Read | None, resolved: Resolved, context: TaskContext
) -> Judged:
    """A peer's answers, with the point of the run.

    Raises:
        UsageError: The task reads none.
    """
    if read is None:
        raise UsageError(
            f"the task {resolved.task.name} reads no answers of others",
            whose="--from",
            fix="leave it out, or name the folder of another run",
            code="usage/not-for-task",
        )
    content = _content(given)
    tally = read(given, job.dataset.split(job.split), context)
    point = points_of(job.run, resolved, rule=job.rule)[0]
    told = (*_not_its_own(resolved.task, point, given), *point_in_words(point))
    return Judged(
        name=visible_name(given.resolve().name),
        tallies=(tally,),
        points=(point,),
        content=content,
        point_in_words=told,
        facts={"point_of": "run"},
    )


def _not_its_own(task: TaskSpec, point: Any, given: Path) -> tuple[str, ...]:
    """A sentence on the point by which a peer's answers are judged; none without one."""
    level = task.answering.level
    if point is None or level is None or level.of(point) is None:
        return ()
    name = visible_name(given.resolve().name)
    return (
        f"the answers of {name} are judged by the run's point, which was chosen on the run's own "
        "validation answers and not on those of this peer; figures that need no point do not "
        "depend on it",
    )


def _place(parent: Path, name: str, content: str, split: str) -> Path:
    """The folder of a result, which holds that of no other answers and of no other split."""
    name = cut_bytes(name, _LONGEST_NAME) or "answers"
    known = parent / name / "result.json"
    if not known.is_file():
        return parent / name
    with contextlib.suppress(MoekitError, AttributeError):
        earlier = read_json(known)
        if (earlier.get("from_sha256"), earlier.get("split")) == (content, split):
            return parent / name
    own = hashlib.sha256(f"{content} {split}".encode()).hexdigest()
    return parent / f"{name}-{own[:8]}"


def _content(given: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files of a folder."""
    if given.is_file():
        return sha256(given)
    return sha256_of_files(given, (one for one in given.rglob("*") if one.is_file()))
