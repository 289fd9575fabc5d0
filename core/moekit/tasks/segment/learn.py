"""How the task is learned: targets, loss and the quick figures of an epoch.

Shapes: B samples, C classes, h and w rows and columns of logits, H and W those of targets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from moekit.contract.outputs import Outputs
from moekit.contract.recipe import Recipe
from moekit.contract.tasks import Learn
from moekit.data.geometry import Frame
from moekit.data.mask_table import IGNORED
from moekit.data.samples import SPLITS, Dataset, Sample
from moekit.data.views import view
from moekit.errors import DataError
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.truth import has_truth, placed_truth

TARGET = "class_BHW"
_HEAVIEST = 10.0


def targets(samples: Sequence[Sample], views: np.ndarray, frame: Frame) -> Outputs:
    """The classes of pixels as they lie in the input, turned and flipped as the views are.

    Args:
        samples: (B) with masks.
        views: (B,) numbers of their views, as of `moekit.data.views.view`.
        frame: How pictures lie in the input.

    Returns:
        `class_BHW`, int64 at half the input's resolution; `IGNORED` for pixels that do not count
        and for borders.

    Raises:
        DataError: A mask cannot be used.
        UsageError: A quarter turn was asked for and the frame is not square.
    """
    planes = [
        view(torch.from_numpy(placed_truth(sample, frame).astype(np.int64)), int(number))
        for sample, number in zip(samples, views, strict=True)
    ]
    return {TARGET: torch.stack(planes)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentLoss:
    """Cross-entropy over pixels that count, with rarer classes weighing more, and soft Dice.

    A class weighs by its share of the batch's pixels to the power of minus `balance`: 0 is plain
    cross-entropy, 1 gives each class the same weight in all. Square roots of frequencies are those
    of Mahajan et al. 2018, arXiv:1805.00932. No weight exceeds ten times the mean one. Soft Dice is
    that of Milletari et al. 2016, arXiv:1606.04797, the mean over the classes of the batch.

    Attributes:
        balance: From 0 to 1.
        dice: What soft Dice counts next to cross-entropy; 0 for none.
    """

    balance: float = 0.5
    dice: float = 0.0

    def __call__(self, outputs: Outputs, targets: Outputs, recipe: Recipe) -> Tensor:
        """(), the loss of a batch in float32; 0 if no pixel counts."""
        del recipe
        truth_BHW = targets[TARGET]
        with torch.autocast(truth_BHW.device.type, enabled=False):
            logit_BCHW = nn.functional.interpolate(
                outputs[LOGIT].float(),
                size=truth_BHW.shape[1:],
                mode="bilinear",
                align_corners=False,
            )
            counted_BHW = truth_BHW != IGNORED
            named_BHW = truth_BHW.clamp_min(0)
            classes = logit_BCHW.shape[1]
            count_C = torch.bincount(named_BHW[counted_BHW], minlength=classes).float()
            weight_C = class_weights(count_C, self.balance)
            loss_BHW = nn.functional.cross_entropy(logit_BCHW, named_BHW, reduction="none")
            weight_BHW = weight_C[named_BHW] * counted_BHW
            loss = (loss_BHW * weight_BHW).sum() / weight_BHW.sum().clamp_min(1e-6)
            if self.dice:
                loss = loss + self.dice * soft_dice(logit_BCHW, named_BHW, counted_BHW)
            return loss


def class_weights(count_C: Tensor, balance: float) -> Tensor:
    """(C,) float32 weights of classes, 1 in the mean over pixels.

    Args:
        count_C: (C,) float32 pixels of each class.
        balance: As of `SegmentLoss`.
    """
    share_C = count_C / count_C.sum().clamp_min(1)
    weight_C = share_C.clamp_min(1e-6) ** -balance
    mean = (weight_C * share_C).sum().clamp_min(1e-6)
    return (weight_C / mean).clamp_max(_HEAVIEST)


def soft_dice(logit_BCHW: Tensor, named_BHW: Tensor, counted_BHW: Tensor) -> Tensor:
    """(), one less the mean Dice coefficient of probabilities, over the classes of the batch.

    Args:
        logit_BCHW: (B, C, H, W) float32.
        named_BHW: (B, H, W) int64 class numbers, none negative.
        counted_BHW: (B, H, W) bool, the pixels that count.
    """
    classes = logit_BCHW.shape[1]
    probability_BCHW = logit_BCHW.softmax(1) * counted_BHW[:, None]
    truth_BCHW = nn.functional.one_hot(named_BHW, classes).movedim(3, 1) * counted_BHW[:, None]
    shared_C = (probability_BCHW * truth_BCHW).sum((0, 2, 3))
    truth_C = truth_BCHW.sum((0, 2, 3)).float()
    dice_C = 2 * shared_C / (probability_BCHW.sum((0, 2, 3)) + truth_C).clamp_min(1e-6)
    present_C = (truth_C > 0).float()
    return ((1 - dice_C) * present_C).sum() / present_C.sum().clamp_min(1)


def check(dataset: Dataset) -> None:
    """Refuses data that the task cannot learn from.

    Raises:
        DataError: There are fewer than two classes, a table leads beyond them, or a sample for
            training or validation has no mask. A sample of class 0 needs none if that class is the
            negative one (`Dataset.has_negative`).
    """
    if len(dataset.classes) < 2:
        raise DataError(
            f"a pixel needs two classes to choose from, the data have {len(dataset.classes)}",
            whose=dataset.name,
            fix="list the background as a class too",
            code="data/class-count",
        )
    _check_tables(dataset)
    if not any(sample.mask is not None for sample in dataset.samples if sample.split == "train"):
        raise DataError(
            "no image of the split 'train' has a mask",
            whose=dataset.name,
            fix="add masks, or use another task",
            code="data/missing-mask",
        )
    for split in SPLITS:
        samples = [sample for sample in dataset.samples if sample.split == split]
        missing = [sample.id for sample in samples if _lacks_mask(sample, dataset)]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(samples)} images of the split {split!r} have no mask, "
                f"such as {missing[0]}",
                whose=dataset.name,
                fix="add their masks, leave them out, or use another task",
                code="data/missing-mask",
            )


def _lacks_mask(sample: Sample, dataset: Dataset) -> bool:
    """Whether a sample cannot be learned from, or would be taken for class 0 without a reason.

    A missing mask of the split test is the affair of the evaluation, which names the sample.
    """
    if sample.mask is None and has_truth(sample):
        return not dataset.has_negative
    return sample.split != "test" and (sample.mask is None or not sample.mask.is_file())


def _check_tables(dataset: Dataset) -> None:
    tables = {id(one.mask_table): one.mask_table for one in dataset.samples if one.mask_table}
    for table in tables.values():
        numbers = {*table.values.values(), *table.colours.values()}
        numbers |= set() if table.others is None else {table.others}
        wrong = [one for one in numbers if not IGNORED <= one < len(dataset.classes)]
        if wrong:
            raise DataError(
                f"the table of the masks leads to the class number {wrong[0]}; there are "
                f"{len(dataset.classes)} classes",
                whose=dataset.name,
                fix="correct the loader's table",
                code="data/unknown-class",
            )


def figures(outputs: Outputs, targets: Outputs) -> Mapping[str, float]:
    """`miou` and `pixel_accuracy` of a split at the resolution of the logits.

    Targets are read at the centres of the logits' places. The mean is over the classes that occur
    in truth or answer; nan if no pixel counts.
    """
    answer_Bhw = outputs[LOGIT].argmax(1).cpu()
    truth_BHW = targets[TARGET].cpu()
    rows, columns = (
        ((torch.arange(small) + 0.5) * large / small).long()
        for small, large in zip(answer_Bhw.shape[1:], truth_BHW.shape[1:], strict=True)
    )
    truth_Bhw = truth_BHW[:, rows][:, :, columns]
    counted = truth_Bhw != IGNORED
    classes = outputs[LOGIT].shape[1]
    pairs = truth_Bhw[counted] * classes + answer_Bhw[counted]
    confusion = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).double()
    hits = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hits
    there = union > 0
    if not there.any():
        return {"miou": float("nan"), "pixel_accuracy": float("nan")}
    return {
        "miou": float((hits[there] / union[there]).mean()),
        "pixel_accuracy": float(hits.sum() / confusion.sum()),
    }


LEARN = Learn(targets=targets, loss=SegmentLoss(), check=check, figures=figures)
