"""Losses of boxes and classes.

Shapes: B pictures, Q queries or places, C classes, G objects, M matched pairs of all pictures, E
denoising queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from moekit_detection.boxes import corners, overlaps
from moekit_detection.matching import aligned, one_to_one

SIDE, OVERLAP = 2.0, 2.0
"""What distances of sides and overlaps count next to classes."""
_ALPHA, _GAMMA = 0.75, 2.0


def varifocal(logit_BQC: Tensor, score_BQC: Tensor) -> Tensor:
    """(), the focal loss whose positives are to reach a quality (Zhang et al., arXiv:2008.13367).

    Args:
        logit_BQC: Logits.
        score_BQC: What their sigmoid is to be: the overlap with the object, 0 for no object.
    """
    chance_BQC = logit_BQC.detach().sigmoid()
    weight_BQC = torch.where(score_BQC > 0, score_BQC, _ALPHA * chance_BQC**_GAMMA)
    loss: Tensor = nn.functional.binary_cross_entropy_with_logits(
        logit_BQC, score_BQC, weight=weight_BQC, reduction="sum"
    )
    return loss


def box_loss(box_M4: Tensor, truth_M4: Tensor, weight_M: Tensor) -> Tensor:
    """(), L1 of the sides relative to the object's, and generalised IoU (arXiv:1902.09630).

    Distances are shares of the object's own sides, so that small objects count as large ones do.
    """
    side_M4 = truth_M4[:, 2:].repeat(1, 2).clamp_min(1e-4)
    away_M = ((box_M4 - truth_M4).abs() / side_M4).clamp_max(4).mean(1)
    apart_M = 1 - overlaps(corners(box_M4), corners(truth_M4))[1]
    return ((SIDE * away_M + OVERLAP * apart_M) * weight_M).sum()


Pairs = Sequence[tuple[Tensor, Tensor]]
"""Of each picture (M,) queries and (M,) the objects that they find."""


def pairs_of(logit_BQC: Tensor, box_BQ4: Tensor, targets: Mapping[str, Tensor]) -> Pairs:
    """Which query is to find which object.

    Args:
        logit_BQC: (B, Q, C).
        box_BQ4: (B, Q, 4).
        targets: As of `learn.targets`.
    """
    return [
        one_to_one(logit_QC, box_Q4, label_G, truth_G4)
        for logit_QC, box_Q4, (label_G, truth_G4) in zip(
            logit_BQC, box_BQ4, objects_in(targets), strict=True
        )
    ]


def set_loss(
    logit_BQC: Tensor, box_BQ4: Tensor, targets: Mapping[str, Tensor], pairs: Pairs
) -> Tensor:
    """(), the loss of queries that find one object each.

    Args:
        logit_BQC: (B, Q, C).
        box_BQ4: (B, Q, 4).
        targets: As of `learn.targets`.
        pairs: Of these outputs, as of `pairs_of`.
    """
    score_BQC = torch.zeros_like(logit_BQC)
    boxes, truths = [], []
    for row, (label_G, truth_G4) in enumerate(objects_in(targets)):
        found_M, object_M = pairs[row]
        if len(found_M):
            boxes.append(box_BQ4[row, found_M])
            truths.append(truth_G4[object_M])
            score_BQC[row, found_M, label_G[object_M]] = _overlap(boxes[-1], truths[-1])
    return _joined(logit_BQC, score_BQC, boxes, truths, count_of(targets))


def dense_loss(
    logit_BSC: Tensor, box_BS4: Tensor, targets: Mapping[str, Tensor], middle_S2: Tensor
) -> Tensor:
    """(), the loss of places, several of which find each object.

    Args:
        logit_BSC: (B, S, C).
        box_BS4: (B, S, 4).
        targets: As of `learn.targets`.
        middle_S2: (S, 2) where the places lie, as shares.
    """
    score_BSC = torch.zeros_like(logit_BSC)
    boxes, truths, weights = [], [], []
    for row, (label_G, truth_G4) in enumerate(objects_in(targets)):
        if len(label_G):
            place_M, object_M, score_M = aligned(
                logit_BSC[row], box_BS4[row], middle_S2, label_G, truth_G4
            )
            score_BSC[row, place_M, label_G[object_M]] = score_M
            boxes.append(box_BS4[row, place_M])
            truths.append(truth_G4[object_M])
            # Each object counts once, whatever it overlaps with so far.
            count_G = torch.bincount(object_M, minlength=len(label_G)).clamp_min(1)
            weights.append(1 / count_G[object_M].to(score_M))
    return _joined(logit_BSC, score_BSC, boxes, truths, count_of(targets), weights)


def denoising_loss(
    logit_BEC: Tensor,
    box_BE4: Tensor,
    targets: Mapping[str, Tensor],
    object_BE: Tensor,
    counts_BE: Tensor,
) -> Tensor:
    """(), the loss of queries that know their object; see `denoising`."""
    score_BEC = torch.zeros_like(logit_BEC)
    finds_BE = (object_BE >= 0) & counts_BE
    row_M, query_M = finds_BE.nonzero(as_tuple=True)
    object_M = object_BE[row_M, query_M]
    truth_M4, label_M = targets["box_BG4"][row_M, object_M], targets["label_BG"][row_M, object_M]
    box_M4 = box_BE4[row_M, query_M]
    score_BEC[row_M, query_M, label_M] = _overlap(box_M4, truth_M4)
    groups = finds_BE.sum() / count_of(targets).clamp_min(1)
    kept_BE1 = counts_BE[..., None]
    return _joined(
        logit_BEC.masked_fill(~kept_BE1, -20.0),
        score_BEC,
        [box_M4],
        [truth_M4],
        count_of(targets) * groups.clamp_min(1),
    )


def count_of(targets: Mapping[str, Tensor]) -> Tensor:
    """(), how many objects there are, at least one."""
    return (targets["label_BG"] >= 0).sum().clamp_min(1)


def objects_in(targets: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(G,) classes and (G, 4) boxes of the objects of each picture."""
    there_BG = targets["label_BG"] >= 0
    return [
        (label_G[there_G], box_G4[there_G])
        for label_G, box_G4, there_G in zip(
            targets["label_BG"], targets["box_BG4"], there_BG, strict=True
        )
    ]


def _overlap(box_M4: Tensor, truth_M4: Tensor) -> Tensor:
    """(M,) overlaps of pairs, without gradients; at least 0.01, so that a pair is a positive."""
    with torch.no_grad():
        return overlaps(corners(box_M4), corners(truth_M4))[0].clamp(0.01, 1)


def _joined(
    logit_BQC: Tensor,
    score_BQC: Tensor,
    boxes: list[Tensor],
    truths: list[Tensor],
    count: Tensor,
    weights: list[Tensor] | None = None,
) -> Tensor:
    loss = varifocal(logit_BQC, score_BQC)
    if boxes:
        box_M4, truth_M4 = torch.cat(boxes), torch.cat(truths)
        weight_M = torch.cat(weights) if weights else torch.ones_like(box_M4[:, 0])
        loss = loss + box_loss(box_M4, truth_M4, weight_M)
    return loss / count
