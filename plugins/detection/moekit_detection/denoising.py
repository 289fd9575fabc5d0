"""Denoising queries: in training, objects with noise are to be put right.

They need no matching, so each layer learns from the first step on what a good correction is
(DN-DETR, Li et al. 2022, arXiv:2203.01305). Half of them lie too far off and are to say that
nothing is there (DINO, Zhang et al. 2023, arXiv:2203.03605).

Shapes: B pictures, G objects of the picture with the most, P pairs of groups, E = 2 P G queries, Q
other queries, C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from moekit_detection.boxes import inside

MOST = 40
"""Objects of a picture that are disturbed, at most."""
_NEAR, _FAR = 0.4, 1.0
_OTHER_CLASS = 0.2


class Disturbed(NamedTuple):
    """Objects with noise.

    Attributes:
        box_BE4: Their boxes.
        label_BE: Their classes, some of them wrong.
        object_BE: The number of the object in the targets, -1 if there is none to find.
        counts_BE: Whether a query is learned from.
    """

    box_BE4: Tensor
    label_BE: Tensor
    object_BE: Tensor
    counts_BE: Tensor


def disturbed(
    label_BG: Tensor, box_BG4: Tensor, *, classes: int, pairs: int
) -> tuple[Disturbed, int]:
    """Objects with noise, group by group, and how many queries a group has.

    Args:
        label_BG: (B, G) int64 classes, negative for no object.
        box_BG4: (B, G, 4) their boxes.
        classes: C.
        pairs: P.
    """
    label_BG, box_BG4 = label_BG[:, :MOST], box_BG4[:, :MOST]
    there_BG = label_BG >= 0
    boxes, labels, objects, counts = [], [], [], []
    number_BG = torch.arange(label_BG.shape[1], device=label_BG.device).expand_as(label_BG)
    for _ in range(pairs):
        for far in (False, True):
            boxes.append(_shaken(box_BG4, far=far))
            other_BG = torch.randint_like(label_BG, classes)
            wrong_BG = torch.rand_like(box_BG4[..., 0]) < _OTHER_CLASS
            labels.append(torch.where(wrong_BG, other_BG, label_BG.clamp_min(0)))
            objects.append(torch.full_like(number_BG, -1) if far else number_BG)
            counts.append(there_BG)
    made = Disturbed(*(torch.cat(one, 1) for one in (boxes, labels, objects, counts)))
    return made, 2 * label_BG.shape[1]


def mask(queries: int, groups: int, size: int, device: torch.device) -> Tensor:
    """(Q + E, Q + E) bool, True if a query may look.

    Plain queries do not see the disturbed ones, which know the truth; those see the plain ones and
    their own group.

    Args:
        queries: Q.
        groups: P.
        size: E / P.
        device: Where it is to lie.
    """
    group = torch.cat(
        [
            torch.full((queries,), -1, device=device),
            torch.arange(groups, device=device).repeat_interleave(size),
        ]
    )
    return (group[None, :] == -1) | (group[:, None] == group[None, :])


def _shaken(box_BG4: Tensor, *, far: bool) -> Tensor:
    low, high = (_NEAR, _FAR) if far else (0.0, _NEAR)
    size = low + (high - low) * torch.rand_like(box_BG4)
    sign = torch.randint_like(box_BG4, 2) * 2 - 1
    step = size * sign
    centre = box_BG4[..., :2] + step[..., :2] * box_BG4[..., 2:] / 2
    side = box_BG4[..., 2:] * (1 + step[..., 2:]).clamp_min(0.2)
    return inside(torch.cat([centre, side], dim=-1))
