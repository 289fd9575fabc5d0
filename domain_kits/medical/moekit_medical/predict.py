"""`moekit predict medical`: findings in the CT series at a path."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from PIL import Image

from moekit import PredictJob, UsageError


def predict_series(task: PredictJob) -> dict[str, Any]:
    """Scores the nodule candidates of every CT series below one path.

    The tokens that name files and series in the outputs are salted with the run's provenance, so
    that the same command gives the same bytes.

    Raises:
        UsageError: More than one path was given.
        DataError: There is nothing at the path.
        StorageError: The output cannot be written.
    """
    # The libraries of images and of DICOM output take a second to load; only this needs them.
    from moekit_medical.inference.pipeline import run_inference

    if len(task.inputs) != 1:
        raise UsageError(
            f"{len(task.inputs)} inputs were given",
            whose="moekit predict medical",
            fix="name one folder, zip archive or file; folders may hold many series",
        )

    def picture(crop_SS: np.ndarray) -> Image.Image:
        return Image.fromarray(crop_SS).convert("RGB")

    def score(crops_NSS: np.ndarray) -> np.ndarray:
        if crops_NSS.ndim == 3:
            return task.score([picture(crop_SS) for crop_SS in crops_NSS])
        return task.score([[picture(one) for one in stack_TSS] for stack_TSS in crops_NSS])

    salt = hashlib.sha256(json.dumps(dict(task.provenance), sort_keys=True).encode()).digest()
    summary = run_inference(
        task.inputs[0],
        scorer=score,
        threshold=task.threshold,
        out=task.out,
        salt=salt,
        provenance=task.provenance,
        batch_size=max(task.batch_size, 64),
        frames=task.frames,
        progress=task.on_progress,
    )
    return {
        **task.provenance,
        **summary.counts,
        "findings": sum(len(record.findings) for record in summary.series),
        "ignored": len(summary.ignored),
    }
