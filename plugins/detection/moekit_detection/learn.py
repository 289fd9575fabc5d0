"""How the task is learned: targets, loss and the quick figures of an epoch.

Shapes: B samples, G objects of the sample with the most, Q queries, C classes, S places, E
denoising queries, L layers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moekit import DataError, Dataset, Frame, Learn, Outputs, Recipe, Sample
from moekit.data import read_size, view_boxes
from moekit_detection.answers import best_found
from moekit_detection.head import (
    DENSE_BOX,
    DENSE_LOGIT,
    DENSE_SHAPE,
    NOISY_BOX,
    NOISY_COUNTS,
    NOISY_LOGIT,
    NOISY_OBJECT,
    STEP_BOX,
    STEP_LOGIT,
)
from moekit_detection.losses import Pairs, denoising_loss, dense_loss, pairs_of, set_loss
from moekit_detection.queries import places
from moekit_detection.records import (
    BOX,
    LOGIT,
    OBJECTS,
    Objects,
    as_shares,
    in_window,
    objects_of,
)

LABELS, BOXES = "label_BG", "box_BG4"
_KNOWN_SIZES = 2**16
_LEAST_SHARE = 0.3
"""Of an object that a crop cuts, the share that must be left for it to be learned."""


def targets(samples: Sequence[Sample], views: np.ndarray, frame: Frame) -> Outputs:
    """Classes and boxes of the samples' objects, turned, flipped and cut as the views are.

    Crowds are left out: what they hold is neither to be found nor to be passed over.

    Args:
        samples: (B) with objects.
        views: (B,) numbers of their views, as of `moekit.data.view_boxes`.
        frame: How pictures lie in the input.

    Returns:
        `label_BG`, int64, -1 beyond a sample's objects, and `box_BG4`, float32 shares.

    Raises:
        DataError: A sample's objects are not known.
    """
    found = [_placed(sample, int(view), frame) for sample, view in zip(samples, views, strict=True)]
    most = max((len(labels) for labels, _ in found), default=0)
    label_BG = torch.full((len(found), most), -1, dtype=torch.int64)
    box_BG4 = torch.zeros(len(found), most, 4)
    for row, (labels, boxes) in enumerate(found):
        label_BG[row, : len(labels)] = labels
        box_BG4[row, : len(labels)] = boxes
    return {LABELS: label_BG, BOXES: box_BG4}


def _placed(sample: Sample, view: int, frame: Frame) -> tuple[Tensor, Tensor]:
    objects = in_window(objects_of(sample), sample.window)
    objects = objects.take(~objects.crowd_G)
    window = sample.window
    size = _size(sample.path) if window is None else (window.height, window.width)
    labels, boxes, _ = placed(objects, size, view, frame)
    return labels, boxes


def placed(
    objects: Objects, size: tuple[int, int], view: int, frame: Frame
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Classes and boxes of objects in a view of their picture, and which of them are left.

    Args:
        objects: In pixels of the picture, without crowds.
        size: (H, W) of it.
        view: Number of the view.
        frame: How the picture lies in the input.

    Returns:
        (g,) int64 classes and (g, 4) boxes of those of which enough is left; (g,) their positions.
    """
    shares = torch.from_numpy(as_shares(objects, size, frame)).float()
    boxes = view_boxes(shares, view, (frame.height, frame.width))
    low = (boxes[:, :2] - boxes[:, 2:] / 2).clamp(0, 1)
    high = (boxes[:, :2] + boxes[:, 2:] / 2).clamp(0, 1)
    side = high - low
    left = side.prod(1) / boxes[:, 2:].prod(1).clamp_min(1e-12)
    kept = (left >= _LEAST_SHARE) & (side > 0).all(1)
    labels = torch.from_numpy(objects.label_G)
    boxes = torch.cat([(low + high) / 2, side], dim=1)
    return labels[kept], boxes[kept], kept.nonzero()[:, 0].numpy()


def _size(path: Path) -> tuple[int, int]:
    """(H, W) of a picture, whose file is opened once as long as it stays the same."""
    try:
        known = path.stat()
    except OSError:
        return read_size(path)  # which says what is wrong
    return _size_of_content(path, known.st_mtime_ns, known.st_size)


@functools.lru_cache(_KNOWN_SIZES)
def _size_of_content(path: Path, _changed: int, _bytes: int) -> tuple[int, int]:
    return read_size(path)


def loss(outputs: Outputs, targets: Outputs, recipe: Recipe) -> Tensor:
    """(), the loss of a batch in float32.

    Queries find one object each, after every layer; places are learned several to an object; and
    denoising queries, if there are some, their own. If a model is judged, only what it
    answers counts.
    """
    del recipe
    return loss_and_pairs(outputs, targets)[0]


def loss_and_pairs(outputs: Outputs, targets: Outputs) -> tuple[Tensor, list[Pairs]]:
    """The loss, and which query is to find which object: after the last layer, then the others."""
    device = outputs[LOGIT].device.type
    with torch.autocast(device, enabled=False):
        layers = [(outputs[LOGIT], outputs[BOX]), *_layers(outputs, STEP_LOGIT, STEP_BOX)]
        pairs = [pairs_of(logit, box, targets) for logit, box in layers]
        total = set_loss(*layers[0], targets, pairs[0])
        for (logit, box), own in zip(layers[1:], pairs[1:], strict=True):
            total = total + set_loss(logit, box, targets, own)
        if DENSE_LOGIT in outputs:
            rows, columns = outputs[DENSE_SHAPE][0].tolist()
            middle_S2 = places(rows, columns, outputs[DENSE_BOX])
            middle_S2 = middle_S2 / middle_S2.new_tensor([columns, rows])
            total = total + dense_loss(outputs[DENSE_LOGIT], outputs[DENSE_BOX], targets, middle_S2)
        for logit, box in _layers(outputs, NOISY_LOGIT, NOISY_BOX):
            total = total + denoising_loss(
                logit, box, targets, outputs[NOISY_OBJECT], outputs[NOISY_COUNTS]
            )
        return total, pairs


def _layers(outputs: Outputs, logit: str, box: str) -> list[tuple[Tensor, Tensor]]:
    if logit not in outputs:
        return []
    return list(zip(outputs[logit].unbind(1), outputs[box].unbind(1), strict=True))


def check(dataset: Dataset) -> None:
    """Refuses data that the task cannot learn from.

    Raises:
        DataError: There is no class, a sample for training or validation has not been looked
            through, a class number is unknown, or a split holds no object.
    """
    if not dataset.classes:
        raise DataError(
            "there is no class",
            whose=dataset.name,
            fix="name at least one class of object",
            code="data/class-count",
        )
    for split in ("train", "val"):
        samples = [sample for sample in dataset.samples if sample.split == split]
        unknown = [one.id for one in samples if OBJECTS not in (one.truth or {})]
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(samples)} images of the split {split!r} have no list of "
                f"objects, such as {unknown[0]}",
                whose=dataset.name,
                fix="load them by coco=, yolo= or voc=, leave them out, or use another task",
                code="data/no-truth",
            )
        labels = [objects_of(sample).label_G for sample in samples]
        for sample, label_G in zip(samples, labels, strict=True):
            if len(label_G) and not 0 <= label_G.min() <= label_G.max() < len(dataset.classes):
                raise DataError(
                    f"an object is of the class number {label_G.max()}; there are "
                    f"{len(dataset.classes)} classes",
                    whose=sample.id,
                    fix="list the class, or correct the loader",
                    code="data/unknown-class",
                )
        if samples and not any(len(label_G) for label_G in labels):
            raise DataError(
                f"no image of the split {split!r} shows an object",
                whose=dataset.name,
                fix="add images with objects to it",
                code="data/no-objects",
            )


def figures(outputs: Outputs, targets: Outputs) -> Mapping[str, float]:
    """`found50` of a split: the share of objects found by the best answers, see `best_found`."""
    return {"found50": best_found(outputs, targets[LABELS].cpu(), targets[BOXES].cpu())}


LEARN = Learn(targets=targets, loss=loss, check=check, figures=figures)
