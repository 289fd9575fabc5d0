"""How `moekit adapt` learns from normal images only."""

from __future__ import annotations

import time
from typing import cast

from moekit import FitJob, FitResult
from moekit_industrial.anomaly.head import MemoryHead
from moekit_industrial.anomaly.learning import MemoryLearner
from moekit_industrial.anomaly.patches import StoredPatches


def fit_memory(job: FitJob) -> FitResult:
    """Fills the kit's memory from the training split, scaled by the validation split.

    The baseline is the plain way on the same backbone, see `MemoryLearner`.

    Raises:
        DataError: A product has no validation image.
    """
    began = time.perf_counter()
    head, device = cast(MemoryHead, job.kit.head), job.fabric.device
    MemoryLearner(
        head,
        StoredPatches(job.train, device),
        StoredPatches(job.val, device),
        seed=job.seed,
        plain=job.part == "baseline",
    ).run()
    job.kit.eval()
    seconds = time.perf_counter() - began
    figures = {
        "epoch": 1.0,
        "images": float(len(job.train)),
        "members": float(len(head.memory.bank_MC)),
        "cells": float(len(head.memory.counts_K)),
        "seconds": seconds,
    }
    job.on_epoch(figures)
    return FitResult(epochs=1, best_epoch=1, seconds=seconds, history=(figures,))
