"""Results with masks that a peer wrote, in COCO's format, judged as answers.

Shapes: D found objects of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moekit import Sample, TaskContext
from moekit_detection.instances.tally import InstanceTally, Judged, tally_of
from moekit_detection.instances.truth import instances_of
from moekit_detection.judging.read import Result, box_of, results_of, wrong_results
from moekit_detection.loaders.masks import runs_of_outline
from moekit_detection.masks.runs import Masks
from moekit_detection.records import Objects


def read_instances(path: Path, samples: Sequence[Sample], context: TaskContext) -> InstanceTally:
    """Reads found instances of a split and matches them with the truth.

    The two forms are those of the task `detect` (`judging.read.read_results`). Each result has a
    `segmentation`, run lengths or polygons, of the size of its picture; without a `bbox` its box is
    that of its pixels. An empty mask is a found object that overlaps nothing.

    Args:
        path: A JSON file.
        samples: Of the split, with truth.
        context: Of the run.

    Raises:
        DataError: It cannot be read, or a result is of an unknown picture or class, or has a mask,
            box or score that is none.
    """
    results = results_of(path, samples, context, needs="segmentation")
    judged = []
    for found, sample in zip(results, samples, strict=True):
        true = instances_of(sample)
        assert true.masks is not None
        judged.append(Judged.of(_found(found, true.masks.size, path), true))
    return tally_of(samples, context, judged)


def _found(results: Sequence[Result], size: tuple[int, int], path: Path) -> Objects:
    masks = Masks.of(size, [_runs(result, size, path) for result in results])
    boxes = [
        box_of(result, path) if "bbox" in result.content else box
        for result, box in zip(results, masks.box_G4.tolist(), strict=True)
    ]
    return Objects.of(
        boxes,
        [result.label for result in results],
        score_G=[result.score for result in results],
        masks=masks,
    )


def _runs(result: Result, size: tuple[int, int], path: Path) -> np.ndarray:
    runs, fault = runs_of_outline(result.content["segmentation"], size)
    if runs is None:
        raise wrong_results(
            path,
            f"the mask of result {result.place} cannot be used ({fault}); the picture has "
            f"{size[1]} x {size[0]} pixels",
            code="data/bad-mask",
        )
    return runs
