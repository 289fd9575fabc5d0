"""How classes are learned: what a head's outputs are compared with, and the loss.

Shapes: B samples, C classes, K labels that a sample may have (`MOST_LABELS`).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from moekit.contract.outputs import Outputs
from moekit.contract.recipe import Recipe
from moekit.contract.tasks import Learn
from moekit.data.geometry import Frame
from moekit.data.many_classes import missing_classes
from moekit.data.samples import UNSEEN, Dataset, Sample
from moekit.errors import DataError, UsageError
from moekit.tasks.classify.answers import NONE_OF_THESE, UNREADABLE
from moekit.tasks.classify.metrics import mean_average_precision, top1

MOST_LABELS = 64
"""Labels that one sample may have."""
NONE = -1
"""Fills the places of `label_BK` that hold no label."""


def class_targets(
    samples: Sequence[Sample],
    views: np.ndarray,
    frame: Frame,
    *,
    shares: Mapping[int, float] | None = None,
) -> Outputs:
    """What the loss compares with; flips and turns change no label.

    Args:
        samples: (B).
        views: (B,) not used.
        frame: Not used.
        shares: By label, the share of training samples that are of the class. If it is given, the
            targets hold `share_BK` too.

    Returns:
        `label_B` int64, `UNSEEN` for samples of no class; or, of samples with several labels,
        `label_BK` int64, `NONE` after the last label. With shares `share_B` or `share_BK` float32,
        1 if there is no label.
    """
    del views, frame
    several = any(sample.labels is not None for sample in samples)
    width = MOST_LABELS if several else 1
    label_BK = torch.full((len(samples), width), NONE)
    for row, sample in enumerate(samples):
        labels = sample.all_labels
        label_BK[row, : len(labels)] = torch.tensor(labels, dtype=torch.int64)
    targets = {"label_BK": label_BK}
    if shares is not None:
        values = [shares.get(label, 1.0) for label in label_BK.flatten().tolist()]
        targets["share_BK"] = torch.tensor(values, dtype=torch.float32).view_as(label_BK)
    if several:
        return targets
    return {name.replace("_BK", "_B"): value[:, 0] for name, value in targets.items()}


def class_loss(outputs: Outputs, targets: Outputs, recipe: Recipe) -> Tensor:
    """Cross entropy, or of several labels the mean binary cross entropy, in float32.

    Samples of no class count for nothing if samples have one label. `label_smoothing` holds for one
    label. With `class_balance` b a sample weighs as much as the b-th power of the inverse share of
    its class; of several labels that is the weight of a label that is there.

    Args:
        outputs: `logit_BC`.
        targets: From `class_targets`.
        recipe: `label_smoothing` and `class_balance`.

    Raises:
        UsageError: `class_balance` is set and the targets hold no shares.
    """
    logit_BC = outputs["logit_BC"].float()
    if "label_BK" in targets:
        return _loss_of_several(logit_BC, targets, recipe)
    label_B = targets["label_B"]
    known_B = label_B != UNSEEN
    loss_B = nn.functional.cross_entropy(
        logit_BC, label_B.clamp_min(0), reduction="none", label_smoothing=recipe.label_smoothing
    )
    weight_B = known_B.float() * _weight(targets, "share_B", recipe)
    return (loss_B * weight_B).sum() / weight_B.sum().clamp_min(1e-12)


def _loss_of_several(logit_BC: Tensor, targets: Outputs, recipe: Recipe) -> Tensor:
    label_BK = targets["label_BK"]
    member_BC = members(label_BK, logit_BC.shape[1])
    weight_BC = torch.ones_like(logit_BC)
    if recipe.class_balance:
        weight_BK = _weight(targets, "share_BK", recipe)
        weight_BK = torch.where(label_BK == NONE, 0.0, weight_BK)
        held_BC = torch.zeros_like(logit_BC).scatter_add(1, label_BK.clamp_min(0), weight_BK)
        weight_BC = torch.where(member_BC > 0, held_BC, weight_BC)
    loss_BC = nn.functional.binary_cross_entropy_with_logits(
        logit_BC, member_BC, weight=weight_BC, reduction="none"
    )
    return loss_BC.sum() / weight_BC.sum()


def _weight(targets: Outputs, name: str, recipe: Recipe) -> Tensor:
    """The inverse shares to the power of the balance; 1 without balance."""
    if not recipe.class_balance:
        return torch.ones(())
    if name not in targets:
        raise UsageError(
            "class_balance needs the shares of the classes, which the targets do not hold",
            whose="the recipe",
            fix="make the targets with `Learn.prepared`, or set class_balance to 0",
            code="usage/no-class-shares",
        )
    return targets[name].clamp_min(1e-12) ** -recipe.class_balance


def members(label_BK: Tensor, classes: int) -> Tensor:
    """(B, C) float32, 1 for the classes of each sample, from labels filled up with `NONE`."""
    held_BC = torch.zeros(len(label_BK), classes, device=label_BK.device)
    return held_BC.scatter_add(1, label_BK.clamp_min(0), (label_BK != NONE).to(held_BC)).clamp_max(
        1
    )


def check_classes(dataset: Dataset) -> None:
    """Checks that classes can be learned from a data set.

    Val and test may lack classes; the note of the splits says so.

    Raises:
        DataError: There are fewer than two classes, a name stands twice, a class has no training
            sample, a label is out of range, or only some samples have several labels.
    """
    classes = dataset.classes
    twice = [name for name, count in collections.Counter(classes).items() if count > 1]
    if len(classes) < 2 or twice:
        what = f"the class {twice[0]!r} is named twice" if twice else "there are not two classes"
        raise _refused(
            dataset, what, "name at least two classes, each once", code="data/class-count"
        )
    reserved = [name for name in classes if name in (NONE_OF_THESE, UNREADABLE)]
    if reserved:
        raise _refused(
            dataset,
            f"a class is called {reserved[0]!r}, which is what moekit answers of an item that is "
            "of no class or that cannot be read",
            "give the class another name",
            code="data/reserved-class",
        )
    train = [sample for sample in dataset.samples if sample.split == "train"]
    several = [sample.labels is not None for sample in dataset.samples]
    if any(several) and not all(several):
        one = dataset.samples[several.index(False)]
        raise _refused(
            dataset,
            f"{one.id} has one label, others have several",
            "give all the same",
            code="data/mixed-labels",
        )
    for sample in dataset.samples:
        _check_labels(dataset, sample)
    missing = missing_classes(dataset, train)
    if missing:
        raise _refused(
            dataset,
            f"the train split holds no image of the class {missing[0]!r} "
            f"({len(missing)} of {len(classes)} classes are missing there)",
            "add training images of it, or remove the class",
            code="data/missing-class",
        )


def _check_labels(dataset: Dataset, sample: Sample) -> None:
    labels = sample.all_labels
    wrong = [label for label in labels if not 0 <= label < len(dataset.classes)]
    if wrong:
        raise _refused(
            dataset,
            f"{sample.id} has the label {wrong[0]}; there are {len(dataset.classes)} classes",
            "report it to the authors of the loader",
            code="data/unknown-class",
        )
    if sample.labels is None and not labels and sample.split == "train":
        raise _refused(
            dataset,
            f"{sample.id} is of no class and lies in train",
            "move it to val or test",
            code="data/unseen-in-train",
        )
    if len(labels) > MOST_LABELS or len(set(labels)) < len(labels):
        raise _refused(
            dataset,
            f"{sample.id} has {len(labels)} labels, or one twice",
            f"give each label once, at most {MOST_LABELS} an image",
            code="data/bad-labels",
        )


def class_figures(outputs: Outputs, targets: Outputs) -> Mapping[str, float]:
    """Figures of an epoch: `top1`, or `map` (mean average precision) of several labels."""
    logit_BC = outputs["logit_BC"].double().cpu()
    if "label_BK" not in targets:
        labels_B = targets["label_B"].cpu().numpy()
        return {"top1": top1(logit_BC.softmax(1).numpy(), labels_B)}
    member_BC = members(targets["label_BK"].cpu(), logit_BC.shape[1]).numpy()
    return {"map": mean_average_precision(logit_BC.sigmoid().numpy(), member_BC)}


def class_shares(train: Sequence[Sample]) -> dict[int, float]:
    """By label, the share of the samples that are of the class, in (0, 1]."""
    counts = collections.Counter(label for sample in train for label in sample.all_labels)
    return {label: count / len(train) for label, count in counts.items()}


def _prepared(train: Sequence[Sample]) -> Learn:
    targets = functools.partial(class_targets, shares=class_shares(train))
    return dataclasses.replace(LEARN, targets=targets)


def _refused(dataset: Dataset, what: str, fix: str, *, code: str) -> DataError:
    return DataError(what, whose=dataset.name, fix=fix, code=code)


LEARN = Learn(
    targets=class_targets,
    loss=class_loss,
    check=check_classes,
    figures=class_figures,
    prepared=_prepared,
)
