"""How outputs become objects: best answers first, doubles removed, in pixels of the picture.

Shapes: B items, Q queries, C classes, G objects of an item.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moekit import Answering, Frame, Item, Outputs, TaskContext
from moekit_detection.boxes import corners
from moekit_detection.judging.match import taken_by_class
from moekit_detection.judging.points import LEVEL
from moekit_detection.records import BOX, LOGIT, Objects, from_shares
from moekit_detection.tiles import Merged

SCORE = "score_BQ"
MOST = 100
"""Objects of a picture that are answered, as COCO counts them."""
NOTHING, UNREADABLE = "nothing", "unreadable"
_LEAST = 1e-3
_CANDIDATES = 1000
_OVERLAP = 0.6
_DIGITS, _SCORE_DIGITS = 2, 6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DetectAnswer:
    """The objects that were found in one picture.

    Attributes:
        objects: All of them, the best first.
        kept_G: (G,) bool, those whose score reaches the point's threshold.
        classes: (C) names.
        size: (H, W) of the picture.
    """

    objects: Objects
    kept_G: np.ndarray
    classes: tuple[str, ...]
    size: tuple[int, int]

    @property
    def kept(self) -> Objects:
        """The objects whose score reaches the point's threshold."""
        return self.objects.take(self.kept_G)

    @property
    def counts(self) -> dict[str, int]:
        """How many objects of each class are kept; classes without any are left out."""
        found = collections.Counter(self.kept.label_G.tolist())
        return {self.classes[label]: count for label, count in sorted(found.items())}

    @property
    def verdict(self) -> str:
        """The commonest class of what is kept; `nothing` if nothing is."""
        counts = self.counts
        return max(counts, key=lambda name: counts[name]) if counts else NOTHING

    @property
    def monitor(self) -> float:
        """The highest score of any found object; 0 if there is none."""
        scores = self.objects.score_G
        return float(scores.max()) if scores is not None and len(scores) else 0.0

    def as_row(self) -> dict[str, Any]:
        """`verdict`, `found`, `counts`, `top_score` (the monitor), `objects` and `size`."""
        kept = self.kept
        assert kept.score_G is not None
        return {
            "verdict": self.verdict,
            "found": len(kept),
            "counts": self.counts,
            "top_score": round(self.monitor, _SCORE_DIGITS),
            "objects": [
                {
                    "class": self.classes[label],
                    "label": label,
                    "score": round(score, _SCORE_DIGITS),
                    "box": [round(one, _DIGITS) for one in box],
                }
                for label, score, box in zip(
                    kept.label_G.tolist(), kept.score_G.tolist(), kept.box_G4.tolist(), strict=True
                )
            ],
            "size": list(self.size),
        }


def decode(
    row: Mapping[str, Tensor],
    frame: Frame,
    size: tuple[int, int],
    context: TaskContext | None = None,
) -> Objects:
    """The objects in one item's outputs, before any threshold; see `picked`."""
    return picked(row, frame, size, context)[0]


def picked(
    row: Mapping[str, Tensor],
    frame: Frame,
    size: tuple[int, int],
    context: TaskContext | None = None,
) -> tuple[Objects, Tensor]:
    """The objects in one item's outputs, before any threshold, and (G,) the query of each.

    Doubles are removed class by class: of two boxes that overlap by more than the kit's option
    `overlap` (0.6 if it sets none), the one with the lower score goes. At most `MOST` stay.

    Args:
        row: `logit_BQC` and `box_BQ4` of the item, (Q, C) and (Q, 4).
        frame: How its picture lies in the input.
        size: (H, W) of the picture.
        context: Gives the kit's options; None for none.
    """
    # Imported here, since importing it makes a folder for compiled code.
    from torchvision.ops import batched_nms

    overlap = float(context.options.get("overlap", _OVERLAP)) if context else _OVERLAP
    score_QC = row[LOGIT].double().sigmoid()
    classes = score_QC.shape[1]
    flat = score_QC.flatten()
    # Equal scores stay in the order of the queries, on every machine.
    best = flat.argsort(descending=True, stable=True)[:_CANDIDATES]
    best = best[flat[best] >= _LEAST]
    label, query = best % classes, best // classes
    box = torch.from_numpy(from_shares(row[BOX][query].double().numpy(), size, frame))
    there = (box[:, 2:] > 0).all(1)
    box, label, score, query = box[there], label[there], flat[best][there], query[there]
    corner = torch.cat([box[:, :2], box[:, :2] + box[:, 2:]], 1)
    kept = batched_nms(corner, score, label, overlap)[:MOST]
    objects = Objects.of(box[kept], label[kept], score_G=score[kept])
    return objects, query[kept]


def merge(views: Sequence[Outputs]) -> Outputs:
    """The queries of all views side by side; doubles go when they are decoded.

    Args:
        views: `logit_BQC` and `box_BQ4` of each view, with boxes that are turned back.
    """
    if len(views) == 1:
        return {LOGIT: views[0][LOGIT], BOX: views[0][BOX]}
    return {name: torch.cat([one[name] for one in views], dim=1) for name in (LOGIT, BOX)}


def derive(outputs: Outputs) -> Outputs:
    """`score_BQ`, the scores of the queries from high to low.

    Two queries that are equal to rounding may change places in a graph; this does not change.
    """
    best_BQ = outputs[LOGIT].amax(-1).sigmoid()
    return {SCORE: best_BQ.topk(best_BQ.shape[1], dim=1).values}


def answers(
    outputs: Outputs, items: Sequence[Item], point: Any, context: TaskContext
) -> Sequence[DetectAnswer]:
    """The answer of each item.

    Args:
        outputs: Merged `logit_BQC` and `box_BQ4`.
        items: (B).
        point: Says by `kept(objects)` which objects are kept; None keeps scores from 0.5.
        context: Of the run.
    """
    found = []
    for number, item in enumerate(items):
        row = {name: outputs[name][number].cpu() for name in (LOGIT, BOX)}
        objects = decode(row, item.lies_in(context), item.size, context)
        assert objects.score_G is not None
        kept_G = objects.score_G >= 0.5 if point is None else point.kept(objects)
        found.append(
            DetectAnswer(objects=objects, kept_G=kept_G, classes=context.classes, size=item.size)
        )
    return found


def unreadable(point: Any) -> dict[str, Any]:
    """The row of an item that could not be read."""
    del point
    row = dict.fromkeys(("found", "top_score", "size"))
    return {"verdict": UNREADABLE, **row, "counts": {}, "objects": []}


def best_found(outputs: Outputs, label_BG: Tensor, box_BG4: Tensor) -> float:
    """The share of objects that are found by as many best answers of their picture as it has.

    An object is found if an answer of its class overlaps it by half; an answer finds one. nan if
    there is no object.

    Args:
        outputs: `logit_BQC` and `box_BQ4`.
        label_BG: As of `learn.targets`.
        box_BG4: Likewise.
    """
    hits, total = 0, 0
    unit = Frame(height=1000, width=1000)
    for row, (label_G, truth_G4) in enumerate(zip(label_BG, box_BG4, strict=True)):
        there_G = label_G >= 0
        count = int(there_G.sum())
        total += count
        objects = decode({name: outputs[name][row] for name in (LOGIT, BOX)}, unit, (1000, 1000))
        best = objects.take(np.arange(min(count, len(objects))))
        corner_G4 = 1000 * corners(truth_G4[there_G]).numpy()
        true = Objects.of(
            np.concatenate([corner_G4[:, :2], corner_G4[:, 2:] - corner_G4[:, :2]], 1),
            label_G[there_G].numpy(),
        )
        hits += int((taken_by_class(best, true) >= 0).sum())
    return hits / total if total else float("nan")


ANSWERING = Answering(
    merge=merge,
    answers=answers,
    unreadable=unreadable,
    derive=derive,
    whole=Merged,
    level=LEVEL,
)
