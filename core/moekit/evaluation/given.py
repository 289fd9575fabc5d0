"""Answers that a peer gave, judged by the same code as a kit's."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from moekit.errors import UsageError
from moekit.evaluation.evaluate import EvaluateJob, header
from moekit.evaluation.learned import left_for_peer
from moekit.evaluation.summary import summarise
from moekit.files import sha256, write_json
from moekit.licences import as_json
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import resolve
from moekit.runs.facts import machine, now, plugin_facts, versions
from moekit.runs.licences import data_link
from moekit.runs.run import PREDICTIONS, hashes_of
from moekit.runtime.load import point_in_words, points_of


def evaluate_given(job: EvaluateJob, given: Path, *, registry: Registry) -> dict[str, Any]:
    """Judges answers in the task's own format, without a model.

    Writes RUN/given/NAME/result.json and the tallies; the run's own result stays as it is.

    Args:
        job: Says run, data and split. The point is the run's.
        given: A file or folder with the answers.
        registry: The installed plugins.

    Returns:
        The content of that result.json.

    Raises:
        DataError: The answers cannot be read, or do not belong to the split.
        UsageError: The task reads no answers of others.
    """
    added = (*job.run.read()["request"].get("metrics", ()), *job.metrics)
    resolved = resolve(job.kit, registry, frames=job.dataset.frames, added=added)
    judge = resolved.task.judge
    unlearned, read = left_for_peer(
        judge.read, job.run, job.dataset, job.split, duplicates=job.duplicates
    )
    judge = dataclasses.replace(judge, read=read)
    job = dataclasses.replace(job, dataset=unlearned.dataset)
    if judge.read is None:
        raise UsageError(
            f"the task {resolved.task.name} reads no answers of others",
            whose="--from",
            fix="leave it out",
            code="usage/not-for-task",
        )
    context = resolved.context(
        classes=job.dataset.classes, frame=job.run.frame(), words=job.dataset.words
    )
    samples = job.dataset.split(job.split)
    tally = judge.read(given, samples, context)
    points = points_of(job.run, resolved, rule=job.rule)
    summary = summarise((tally,), points[:1], resolved.metrics, task=resolved.task, seed=job.seed)
    result = {
        **header(job, resolved, context, points[0], seed=job.seed),
        "foreign": True,
        "from": given.name,
        "from_sha256": _content(given),
        **summary,
        "notes": [*job.dataset.notes, *summary["notes"]],
        "samples": len(samples),
        "outcome_in_words": list(judge.outcome(tally, points[0], context)),
        "point_in_words": list(point_in_words(points[0])),
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
    folder = job.run.folder / "given" / given.stem
    folder.mkdir(parents=True, exist_ok=True)
    result["files"] = hashes_of(folder, judge.save(folder, PREDICTIONS, (tally,)))
    write_json(folder / "result.json", result)
    return result


def _content(given: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files of a folder."""
    if given.is_file():
        return sha256(given)
    digest = hashlib.sha256()
    for path in sorted(one for one in given.rglob("*") if one.is_file()):
        line = f"{path.relative_to(given).as_posix()} {sha256(path)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
