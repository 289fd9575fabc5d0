"""How the task `score` is learned: from labels, or the annotators' probabilities.

Shapes: B samples, M members of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from moekit.contract.outputs import Outputs
from moekit.contract.recipe import Recipe
from moekit.contract.tasks import Learn
from moekit.data.geometry import Frame
from moekit.data.samples import Sample
from moekit.tasks.score.data_check import two_classes_check

MEMBERS = "member_logit_BM"
"""In training, the log-odds of the members of a head, each of which has a loss of its own."""


def targets(samples: Sequence[Sample], views: np.ndarray, frame: Frame) -> Outputs:
    """(B,) labels and soft targets as float32; they are the same in every view."""
    del views, frame
    label_B = [float(sample.label) for sample in samples]
    soft_B = [sample.label if sample.target is None else sample.target for sample in samples]
    return {
        "label_B": torch.tensor(label_B, dtype=torch.float32),
        "soft_B": torch.tensor(soft_B, dtype=torch.float32),
    }


def loss(outputs: Outputs, targets: Outputs, recipe: Recipe) -> Tensor:
    """Mean binary cross-entropy in float32, (); of members the mean over them."""
    target_B = targets["soft_B" if recipe.soft_targets else "label_B"]
    logit = outputs["logit_B"].float()
    if MEMBERS in outputs:
        logit = outputs[MEMBERS].float()
        target_B = target_B[:, None].expand_as(logit)
    return nn.functional.binary_cross_entropy_with_logits(logit, target_B)


def figures(outputs: Outputs, targets: Outputs) -> Mapping[str, float]:
    """The AUROC of the validation split; nan if it lacks one of the two classes."""
    label_B = targets["label_B"].long()
    if len(set(label_B.tolist())) < 2:
        return {"auroc": float("nan")}
    # Imported here: torchmetrics imports matplotlib, which writes folders.
    from torchmetrics.functional.classification import binary_auroc

    score_B = outputs["logit_B"].double().sigmoid()
    return {"auroc": float(binary_auroc(score_B, label_B))}


LEARN = Learn(targets=targets, loss=loss, figures=figures, check=two_classes_check)
