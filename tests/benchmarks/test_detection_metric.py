"""COCO's twelve figures by the detection plugin and by pycocotools: the greatest difference.

Drawn pictures with ties, crowds, many objects and none; and the three sets next to the repository,
with boxes that are moved, doubled, of other classes and left out. The time of a bootstrap with
1,000 resamples stands next to that of one run of pycocotools.
"""

import itertools
import math
import time

import numpy as np
import pytest

from moekit_detection.judging.average import figures_of
from moekit_detection.judging.matches import Matches
from tests.benchmarks.task_runs import TINY
from tests.plugins.detection.coco_cases import (
    as_coco,
    drawn_pairs,
    figures,
    noisy_answers,
    pycocotools_figures,
)

pytestmark = pytest.mark.bench
SEEDS = range(2 if TINY else 40)
DRAWN = (
    {},
    {"ties": False},
    {"crowds": False},
    {"images": 2, "most": 3},
    {"images": 3, "most": 60},
    {"images": 60, "most": 12},
)
SETS = {
    "coco128": ("instances_val.json", "instance_masks_train.json", "instance_masks_val.json"),
    "bccd": ("instances_train.json", "instances_val.json"),
    "deeppcb": ("instances_train.json", "instances_val.json"),
}
DRAWS = 50 if TINY else 1000
COMMAND = "pytest -m bench tests/benchmarks/test_detection_metric.py"


def difference(pairs, truth, results, classes):
    """The greatest difference of a figure; infinite if one is undefined for one of them alone."""
    wanted, _ = pycocotools_figures(truth, results)
    found = figures(pairs, classes)
    gaps = [0.0]
    for name, value in wanted.items():
        one_alone = math.isnan(value) != math.isnan(found[name])
        gaps.append(math.inf if one_alone else abs(np.nan_to_num(value - found[name])))
    return max(gaps)


def test_no_figure_differs_from_pycocotools(shared, record, record_figure):
    drawn = []
    for seed, options in itertools.product(SEEDS, DRAWN):
        pairs = drawn_pairs(seed, **options)
        if any(len(found) for found, _ in pairs):  # pycocotools loads no empty list of results
            drawn.append(difference(pairs, *as_coco(pairs, 4), 4))
    real = {}
    for name, files in SETS.items():
        for file in files:
            pairs, truth, results = noisy_answers(shared / "data" / name / file, 0)
            gap = difference(pairs, truth, results, len(truth["categories"]))
            real[f"{name}/{file}"] = gap
    greatest = max(*drawn, *real.values())
    record(
        "detection_metric",
        {"drawn_cases": len(drawn), "drawn": max(drawn), "real": real, **timing(shared)},
    )
    record_figure(
        "coco.pycocotools_difference",
        greatest,
        command=COMMAND,
        cases=len(drawn) + len(real),
    )
    assert greatest <= 1e-6


def timing(shared):
    """Processor seconds on the val split of bccd: pycocotools once, the plugin, a bootstrap."""
    pairs, truth, results = noisy_answers(shared / "data/bccd/instances_val.json", 0)
    began = time.process_time()
    pycocotools_figures(truth, results)
    theirs = time.process_time() - began
    began = time.process_time()
    matches = Matches.of(pairs, 3)
    figures_of(matches, np.ones(len(pairs), dtype=np.int64))
    ours = time.process_time() - began
    generator = np.random.default_rng(0)
    began = time.process_time()
    for _ in range(DRAWS):
        rows = generator.integers(0, len(pairs), len(pairs))
        figures_of(matches, np.bincount(rows, minlength=len(pairs)))
    drawn = time.process_time() - began
    return {"pycocotools_s": theirs, "once_s": ours, "resamples": DRAWS, "resamples_s": drawn}
