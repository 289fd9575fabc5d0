"""Which box is to find which object: one to one for queries, several to one for places.

Shapes: Q queries or places of one picture, G its objects, C classes, M pairs, K places an object.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor

from moekit_detection.boxes import corners, overlaps

CLASS_COST, SIDE_COST, OVERLAP_COST = 2.0, 5.0, 2.0
"""Weights of the three costs, those of DETR's descendants (arXiv:2010.04159, appendix)."""
_ALPHA, _GAMMA = 0.25, 2.0
_PER_OBJECT = 9
_SCORE_POWER, _IOU_POWER = 0.5, 4.0
_EPSILON = 1e-8


@torch.no_grad()
def one_to_one(
    logit_QC: Tensor, box_Q4: Tensor, label_G: Tensor, truth_G4: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs with the least sum of costs, by the Hungarian method (Carion et al., arXiv:2005.12872).

    Args:
        logit_QC: (Q, C) logits of queries.
        box_Q4: (Q, 4) their boxes.
        label_G: (G,) int64 classes of objects.
        truth_G4: (G, 4) their boxes.

    Returns:
        (M,) queries and (M,) objects, int64; M is the lesser of Q and G: of more objects than
        queries some are found by none.
    """
    chance_QG = logit_QC.float().sigmoid()[:, label_G]
    wrong = (1 - _ALPHA) * chance_QG**_GAMMA * -(1 - chance_QG + _EPSILON).log()
    right = _ALPHA * (1 - chance_QG) ** _GAMMA * -(chance_QG + _EPSILON).log()
    side_QG = torch.cdist(box_Q4.float(), truth_G4.float(), p=1)
    _, overlap_QG = overlaps(corners(box_Q4.float())[:, None], corners(truth_G4.float()))
    cost_QG = CLASS_COST * (right - wrong) + SIDE_COST * side_QG - OVERLAP_COST * overlap_QG
    rows, columns = linear_sum_assignment(cost_QG.cpu().numpy())
    device = logit_QC.device
    return torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device)


@torch.no_grad()
def aligned(
    logit_QC: Tensor, box_Q4: Tensor, middle_Q2: Tensor, label_G: Tensor, truth_G4: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Places that are to find each object: those that do it best so far (TOOD, arXiv:2108.07755).

    Candidates lie inside an object's box; the nearest place to its centre is always one. A place is
    good by its score and its overlap. One that is chosen by two objects finds the one it overlaps
    more. The score to learn is the overlap, scaled so that an object's best place gets its own.

    Args:
        logit_QC: (Q, C) logits of places.
        box_Q4: (Q, 4) their boxes.
        middle_Q2: (Q, 2) where they lie, as shares.
        label_G: (G,) int64 classes of objects.
        truth_G4: (G, 4) their boxes.

    Returns:
        (M,) places, (M,) the object of each, (M,) the score in [0, 1] that each is to learn.
    """
    corner_G4 = corners(truth_G4)
    low, high = corner_G4[None, :, :2], corner_G4[None, :, 2:]
    within_QG = ((middle_Q2[:, None] > low) & (middle_Q2[:, None] < high)).all(-1)
    nearest_G = torch.cdist(middle_Q2, truth_G4[:, :2]).argmin(0)
    within_QG[nearest_G, torch.arange(len(label_G), device=nearest_G.device)] = True
    overlap_QG, _ = overlaps(corners(box_Q4)[:, None], corner_G4)
    chance_QG = logit_QC.sigmoid()[:, label_G]
    good_QG = chance_QG**_SCORE_POWER * overlap_QG**_IOU_POWER
    good_QG = (good_QG + _EPSILON) * within_QG
    best_KG = good_QG.topk(min(_PER_OBJECT, len(good_QG)), dim=0)
    chosen_QG = torch.zeros_like(within_QG)
    chosen_QG.scatter_(0, best_KG.indices, best_KG.values > 0)
    # A place finds one object.
    first_Q = (overlap_QG * chosen_QG + chosen_QG * _EPSILON).argmax(1)
    chosen_QG &= torch.nn.functional.one_hot(first_Q, len(label_G)).bool()
    place_M, object_M = chosen_QG.nonzero(as_tuple=True)
    good_QG = good_QG * chosen_QG
    most_G = good_QG.amax(0).clamp_min(_EPSILON)
    reached_G = (overlap_QG * chosen_QG).amax(0)
    score_M = good_QG[place_M, object_M] / most_G[object_M] * reached_G[object_M]
    return place_M, object_M, score_M.clamp(0, 1)
