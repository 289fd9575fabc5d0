"""Filling a `PrototypeBoxHead` from the training split.

Shapes: P patches, F features, C classes, K clusters, S sizes of a class, G
objects of a picture, or of all.
"""

from __future__ import annotations

import time
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from moekit import DataError, FitJob, FitResult
from moekit.tasks.parts import head_inputs
from moekit_detection.boxes import corners
from moekit_detection.learn import BOXES, LABELS
from moekit_detection.prototypes import PrototypeBoxHead
from moekit_detection.queries import places

_ROUNDS, _MOST = 20, 20_000
"""Of k-means, and patches that it takes."""
_INNER = 0.8
"""The part of a box's sides whose patches are surely of its object."""


def fit_box_prototypes(job: FitJob) -> FitResult:
    """Sets means of classes, clusters of everything else, and sizes; a kit passes it as its `fit`.

    Raises:
        DataError: A class has no object in the training split.
    """
    began = time.perf_counter()
    job.kit.eval()
    head = cast(PrototypeBoxHead, job.kit.head)
    patch_PF, label_P, class_G, side_G2 = _gathered(job, head)
    classes, sizes = head.side_CS2.shape[:2]
    head.centre_F.copy_(patch_PF.mean(0))
    unit_PF = nn.functional.normalize(patch_PF - head.centre_F, dim=1)
    for label in range(classes):
        own_P, own_G = label_P == label, class_G == label
        if not bool(own_P.any()) or not bool(own_G.any()):
            raise DataError(
                f"class number {label} has no object to learn from",
                whose="the train split",
                fix="add a picture that shows it, or take more (?shots=K)",
                code="data/missing-class",
            )
        head.class_CF[label] = nn.functional.normalize(unit_PF[own_P].mean(0), dim=0)
        head.side_CS2[label] = _sizes(side_G2[own_G], sizes)
    head.other_KF.copy_(_clusters(unit_PF[label_P < 0], len(head.other_KF), seed=job.seed))
    figures = {
        "epoch": 1.0,
        "images": float(len(job.train)),
        "objects": float(len(class_G)),
        "seconds": time.perf_counter() - began,
    }
    job.on_epoch(figures)
    return FitResult(epochs=1, best_epoch=1, seconds=figures["seconds"], history=(figures,))


@torch.inference_mode()
def _gathered(job: FitJob, head: PrototypeBoxHead) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(P, F) patches of all pictures and views, (P,) their classes; (G,) objects, (G, 2) sizes.

    A patch of no object has class -1. One at the side of an object is left out.
    """
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for view in range(job.train.views):
        inputs = head_inputs(job, job.train, view, batch_size=job.recipe.batch_size)
        for rows, given in inputs:
            described_BFhw = head.described(*given[:2])
            targets = job.targets(job.train, rows, np.full_like(rows, view))
            height, width = described_BFhw.shape[-2:]
            scale = described_BFhw.new_tensor([width, height])
            at_P2 = places(height, width, described_BFhw) / scale
            for row, described_Fhw in enumerate(described_BFhw):
                class_G, box_G4 = targets[LABELS][row].to(at_P2.device), targets[BOXES][row]
                box_G4, class_G = box_G4.to(at_P2)[class_G >= 0], class_G[class_G >= 0]
                label_P = _label(at_P2, box_G4, class_G)
                kept_P = label_P > -2
                patch_PF = described_Fhw.flatten(1).T[kept_P]
                found.append((patch_PF, label_P[kept_P], class_G, box_G4[:, 2:]))
    patch_PF, label_P, class_G, side_G2 = (
        torch.cat(parts).clone() for parts in zip(*found, strict=True)
    )
    return patch_PF, label_P, class_G, side_G2


def _label(at_P2: Tensor, box_G4: Tensor, label_G: Tensor) -> Tensor:
    """(P,) the class of each patch: -1 of nothing, -2 if it is not known for sure."""
    label_P = torch.full((len(at_P2),), -1, device=at_P2.device)
    inner = torch.cat([box_G4[:, :2], box_G4[:, 2:] * _INNER], dim=1)
    # The smallest object last: what it covers is its own.
    for place in box_G4[:, 2:].prod(1).argsort(descending=True).tolist():
        label_P[_within(at_P2, box_G4[place])] = -2
        inside = _within(at_P2, inner[place])
        if not bool(inside.any()):  # smaller than a patch: the nearest one
            away = (at_P2 - box_G4[place, :2]).abs().sum(1)
            inside[away.argmin()] = True
        label_P[inside] = label_G[place].to(label_P)
    return label_P


def _within(at_P2: Tensor, box_4: Tensor) -> Tensor:
    x0, y0, x1, y1 = corners(box_4).tolist()
    x, y = at_P2.unbind(1)
    inside_P: Tensor = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return inside_P


def _sizes(side_G2: Tensor, count: int) -> Tensor:
    """(S, 2) sizes that stand for those of the examples: by area, from small to large."""
    order = side_G2.prod(1).argsort()
    share = (torch.arange(count) + 0.5) / count
    return side_G2[order[(share * len(order)).long().clamp_max(len(order) - 1)]]


def _clusters(unit_PF: Tensor, count: int, *, seed: int) -> Tensor:
    """(K, F) unit means of clusters by cosine (spherical k-means, Dhillon and Modha 2001)."""
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(unit_PF), generator=generator)[:_MOST]
    unit_PF = unit_PF[some.to(unit_PF.device)]
    if not len(unit_PF):
        return unit_PF.new_zeros(count, unit_PF.shape[1])
    first = torch.randint(len(unit_PF), (count,), generator=generator)
    mean_KF = unit_PF[first.to(unit_PF.device)]
    for _ in range(_ROUNDS):
        nearest_P = (unit_PF @ mean_KF.T).argmax(1)
        total_KF = torch.zeros_like(mean_KF).index_add_(0, nearest_P, unit_PF)
        empty_K = total_KF.norm(dim=1) == 0
        mean_KF = torch.where(empty_K[:, None], mean_KF, nn.functional.normalize(total_KF, dim=1))
    return mean_KF
