"""How masks are learned: targets on a raster in each object's box, and their loss.

Shapes: B samples, G objects of the sample with the most, M pairs of a query and an object, R = S S
places of a raster, P places that a step learns from, F channels, Q queries, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from moekit import DataError, Dataset, Frame, Learn, Outputs, Recipe, Sample
from moekit.data import view_boxes
from moekit_detection import learn as boxes
from moekit_detection.answers import best_found
from moekit_detection.head import NOISY_COUNTS, NOISY_OBJECT
from moekit_detection.instances.head import NOISY_KERNEL, STEP_KERNEL
from moekit_detection.instances.pixels import FEATURE, KERNEL, MARGIN
from moekit_detection.instances.truth import has_masks, instances_of
from moekit_detection.learn import BOXES, LABELS, loss_and_pairs, placed
from moekit_detection.losses import Pairs, count_of, pairs_of
from moekit_detection.masks.runs import Masks
from moekit_detection.queries import places
from moekit_detection.records import BOX, LOGIT, in_window

INSIDE = "inside_BGR"
RASTER = 28
"""S, rows and columns of the raster."""
_POINTS = 196
_CROSS_ENTROPY, _DICE = 2.0, 2.0
"""What the two losses of masks count next to those of classes and boxes."""


def targets(samples: Sequence[Sample], views: np.ndarray, frame: Frame) -> Outputs:
    """As of the task `detect`, and whether places in and around each box belong to its object.

    Objects without a mask that can be used are left out, as crowds are.

    Args:
        samples: (B) with objects.
        views: (B,) numbers of their views.
        frame: How pictures lie in the input.

    Returns:
        `label_BG`, `box_BG4` and `inside_BGR`, uint8, row by row of a raster over the box, which
        is enlarged by a quarter of its sides on each side.

    Raises:
        DataError: A sample's objects are not known.
    """
    found = [_placed(one, int(view), frame) for one, view in zip(samples, views, strict=True)]
    most = max((len(labels) for labels, _, _ in found), default=0)
    label_BG = torch.full((len(found), most), -1, dtype=torch.int64)
    box_BG4 = torch.zeros(len(found), most, 4)
    inside_BGR = torch.zeros(len(found), most, RASTER**2, dtype=torch.uint8)
    for row, (labels, own, inside) in enumerate(found):
        label_BG[row, : len(labels)] = labels
        box_BG4[row, : len(labels)] = own
        inside_BGR[row, : len(labels)] = inside
    return {LABELS: label_BG, BOXES: box_BG4, INSIDE: inside_BGR}


def _placed(sample: Sample, view: int, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    objects = in_window(instances_of(sample), sample.window)
    objects = objects.take(~objects.crowd_G)
    assert objects.masks is not None
    size = objects.masks.size
    labels, own, left = placed(objects, size, view, frame)
    inside = _rasters(objects.masks.take(left), raster_points(own), view, frame)
    return labels, own, inside


def raster_points(box_G4: Tensor) -> Tensor:
    """(G, R, 2) x and y of the places of the rasters of boxes, as shares of the input."""
    share_R2 = places(RASTER, RASTER, box_G4) / RASTER - 0.5
    return box_G4[:, None, :2] + share_R2 * ((1 + 2 * MARGIN) * box_G4[:, None, 2:])


def _rasters(masks: Masks, point_GR2: Tensor, view: int, frame: Frame) -> Tensor:
    """(G, R) uint8 whether points of a view of the input lie on pixels of masks."""
    corner = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.float64)
    moved = view_boxes(corner, view, (frame.height, frame.width))[:, :2]
    back = torch.linalg.inv(torch.stack([moved[1] - moved[0], moved[2] - moved[0]], dim=1))
    upright = ((point_GR2.double() - moved[0]) @ back.T).numpy()
    box = frame.box(masks.size)
    pixel = (upright * (frame.width, frame.height) - (box.left, box.top)) * (
        masks.size[1] / box.width,
        masks.size[0] / box.height,
    )
    at = np.floor(pixel).astype(np.int64)
    held = [masks.holds(place, *at[place].T) for place in range(len(masks))]
    return torch.from_numpy(np.stack(held) if held else np.zeros(at.shape[:2])).to(torch.uint8)


def loss(outputs: Outputs, targets: Outputs, recipe: Recipe) -> Tensor:
    """(), the loss of boxes and classes as of the task `detect`, and that of masks.

    Masks are learned at random places of the rasters (PointRend, Kirillov et al. 2020,
    arXiv:1912.08193), by cross-entropy and Dice (Milletari et al. 2016, arXiv:1606.04797), after
    each layer, by the queries that find objects and by denoising ones.
    """
    del recipe
    total, pairs = loss_and_pairs(outputs, targets)
    with torch.autocast(total.device.type, enabled=False):
        kernels = [outputs[KERNEL], *_layers(outputs, STEP_KERNEL)]
        noisy = _layers(outputs, NOISY_KERNEL)
        feature_BGFP, inside_BGP = _sampled(outputs[FEATURE], targets)
        for kernel_BQF, own in zip(kernels, pairs, strict=True):
            logits, truths = _logits(kernel_BQF, own, feature_BGFP, inside_BGP)
            total = total + mask_loss(logits, truths) / count_of(targets)
        if noisy:
            known, groups = _noisy_pairs(outputs, targets)
            for kernel_BEF in noisy:
                logits, truths = _logits(kernel_BEF, known, feature_BGFP, inside_BGP)
                total = total + mask_loss(logits, truths) / (count_of(targets) * groups)
    return total


def mask_loss(logit_MP: Tensor, inside_MP: Tensor) -> Tensor:
    """(), the sum over pairs of cross-entropy and Dice.

    Args:
        logit_MP: Log-odds at the places.
        inside_MP: 1 if they belong to the object, else 0.
    """
    if not len(logit_MP):
        return logit_MP.sum()
    entropy_M = nn.functional.binary_cross_entropy_with_logits(
        logit_MP, inside_MP, reduction="none"
    ).mean(1)
    chance_MP = logit_MP.sigmoid()
    shared_M, both_M = (chance_MP * inside_MP).sum(1), (chance_MP + inside_MP).sum(1)
    dice_M = 1 - (2 * shared_M + 1) / (both_M + 1)
    return (_CROSS_ENTROPY * entropy_M + _DICE * dice_M).sum()


def _sampled(feature_BFhw: Tensor, targets: Outputs) -> tuple[Tensor, Tensor]:
    """(B, G, F, P) features and (B, G, P) truth at places that are drawn for this step."""
    inside_BGR = targets[INSIDE]
    chosen_P = torch.randperm(RASTER**2, device=inside_BGR.device)[:_POINTS]
    return (
        features_at(feature_BFhw, targets[BOXES], chosen_P),
        inside_BGR[..., chosen_P].to(feature_BFhw.dtype),
    )


def features_at(feature_BFhw: Tensor, box_BG4: Tensor, chosen_P: Tensor) -> Tensor:
    """(B, G, F, P) features at places of the rasters of boxes."""
    batch, count = box_BG4.shape[:2]
    if not count:
        return feature_BFhw.new_zeros(batch, 0, feature_BFhw.shape[1], len(chosen_P))
    point_NP2 = raster_points(box_BG4.flatten(0, 1))[:, chosen_P]
    point_BGP2 = point_NP2.reshape(batch, count, -1, 2)
    sampled: Tensor = nn.functional.grid_sample(
        feature_BFhw, 2 * point_BGP2 - 1, padding_mode="border", align_corners=False
    )
    return sampled.transpose(1, 2)


def _logits(
    kernel_BQF: Tensor, pairs: Pairs, feature_BGFP: Tensor, inside_BGP: Tensor
) -> tuple[Tensor, Tensor]:
    """(M, P) log-odds and truth of the pairs of all pictures."""
    logits, truths = [], []
    for row, (query_M, object_M) in enumerate(pairs):
        kernel_M1F = kernel_BQF[row, query_M][:, None]
        logits.append((kernel_M1F @ feature_BGFP[row, object_M])[:, 0])
        truths.append(inside_BGP[row, object_M])
    return torch.cat(logits), torch.cat(truths)


def _noisy_pairs(outputs: Outputs, targets: Outputs) -> tuple[Pairs, Tensor]:
    """Denoising queries and their objects, and how many there are to an object."""
    finds_BE = (outputs[NOISY_OBJECT] >= 0) & outputs[NOISY_COUNTS]
    pairs = []
    for object_E, finds_E in zip(outputs[NOISY_OBJECT], finds_BE, strict=True):
        query_M = finds_E.nonzero()[:, 0]
        pairs.append((query_M, object_E[query_M]))
    return pairs, (finds_BE.sum() / count_of(targets)).clamp_min(1)


def _layers(outputs: Outputs, name: str) -> list[Tensor]:
    return list(outputs[name].unbind(1)) if name in outputs else []


def check(dataset: Dataset) -> None:
    """Refuses data that the task cannot learn from.

    Raises:
        DataError: As of the task `detect`, or no object of a split has a mask that can be used.
    """
    boxes.check(dataset)
    for split in ("train", "val"):
        samples = [sample for sample in dataset.samples if sample.split == split]
        if samples and not any(map(has_masks, samples)):
            raise DataError(
                f"no object of the split {split!r} has a mask that can be used",
                whose=dataset.name,
                fix="give annotations a segmentation, or use the task detect; the notes of the "
                "data say what was dropped",
                code="data/missing-mask",
            )


def figures(outputs: Outputs, targets: Outputs) -> Mapping[str, float]:
    """`found50` as of the task `detect`, and `mask_iou`.

    The latter is the mean IoU of objects with the masks of the queries that fit them best, at the
    places of their rasters; nan without an object.
    """
    label_BG, box_BG4 = targets[LABELS].cpu(), targets[BOXES].cpu()
    held = {name: value.cpu() for name, value in outputs.items()}
    known = {LABELS: label_BG, BOXES: box_BG4}
    pairs = pairs_of(held[LOGIT], held[BOX], known)
    inside_BGR = targets[INSIDE].cpu()
    every = torch.arange(RASTER**2)
    shares = []
    for row, pair in enumerate(pairs):  # one by one, for memory
        here = slice(row, row + 1)
        feature_BGFR = features_at(held[FEATURE][here], box_BG4[here], every)
        logit_MR, truth_MR = _logits(held[KERNEL][here], [pair], feature_BGFR, inside_BGR[here])
        said_MR, true_MR = logit_MR > 0, truth_MR > 0
        union_M = (said_MR | true_MR).sum(1).clamp_min(1)
        shares.append((said_MR & true_MR).sum(1) / union_M)
    iou_M = torch.cat(shares) if shares else torch.zeros(0)
    return {
        "found50": best_found(outputs, label_BG, box_BG4),
        "mask_iou": float(iou_M.mean()) if len(iou_M) else float("nan"),
    }


INSTANCE_LEARN = Learn(targets=targets, loss=loss, check=check, figures=figures)
