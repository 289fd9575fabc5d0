"""Prefixes of split exports, each loaded once a process."""

from __future__ import annotations

import weakref

import torch

from moekit.contract.tasks import TaskSpec
from moekit.export.predictor import ExportedPredictor
from moekit.export.record import Export
from moekit.export.sessions import open_session
from moekit.export.split.predictor import Prefix, SplitPredictor, by_session

_OPEN: weakref.WeakValueDictionary[tuple[str, int], Prefix] = weakref.WeakValueDictionary()
"""By hash and threads, as long as somebody uses them."""


def open_compute(export: Export, task: TaskSpec) -> ExportedPredictor | SplitPredictor:
    """What computes by an export, on as many threads as torch has.

    Split exports whose prefix is the same share it, also in memory.

    Args:
        export: As `open_export` has checked it.
        task: What is answered.

    Raises:
        UsageError: The runtime of its format is not installed.
    """
    record, threads = export.record, torch.get_num_threads()
    session = open_session(export.model, format_=record.format, threads=threads)
    if record.split is None:
        return ExportedPredictor(session, task=task, precision=record.precision)
    return SplitPredictor(
        open_prefix(export),
        session,
        inputs=record.split.inputs,
        views=record.split.views,
        task=task,
        precision=record.precision,
    )


def open_prefix(export: Export) -> Prefix:
    """The prefix of a split export; the same object for all that have the same.

    Raises:
        UsageError: The runtime of its format is not installed.
    """
    record, threads = export.record, torch.get_num_threads()
    assert record.split is not None
    prefix = record.split.prefix
    known = _OPEN.get((prefix.sha256, threads))
    if known is None:
        path = export.folder / prefix.model
        known = by_session(open_session(path, format_=record.format, threads=threads))
        _OPEN[prefix.sha256, threads] = known
    return known
