"""Outputs of heads that draw masks before training, and the ellipses that these are."""

import numpy as np
import torch

from moekit import Frame
from moekit_detection.instances.head import MaskFeatures, MaskKernels
from moekit_detection.instances.pixels import FEATURE, KERNEL
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.queries import Queries
from moekit_detection.records import BOX, LOGIT

SIDE, CELLS = 112, 32
SQUARE = Frame(height=SIDE, width=SIDE)


def outputs(*found, cells=CELLS):
    """One item's outputs of (class, score, cx, cy, w, h), as a head gives them before training."""
    box = torch.tensor([[one[2:] for one in found]]).float()
    logit = torch.full((1, len(found), 2), -9.0)
    for row, (label, score, *_) in enumerate(found):
        logit[0, row, label] = float(np.log(score / (1 - score)))
    content = torch.zeros(1, len(found), 8)
    with torch.no_grad():
        kernel = MaskKernels(8, 4)(Queries(content, box, logit))
        feature = MaskFeatures(8, 4)(torch.zeros(1, 8, cells // 2, cells // 2))
    return {LOGIT: logit, BOX: box, FEATURE: feature, KERNEL: kernel}


def ellipse(box, size):
    """(H, W) the pixels inside of the ellipse of a box x, y, w, h."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    x, y, width, height = box
    across = (columns + 0.5 - x - width / 2) / (width / 2)
    down = (rows + 0.5 - y - height / 2) / (height / 2)
    return across**2 + down**2 < 1


def share(masks, place, plane):
    """IoU of a mask with pixels."""
    found = Masks.of(masks.size, [masks.runs(place)])
    both = int(found.shared_pixels(Masks.of(masks.size, [runs_of(plane)]))[0, 0])
    return both / (int(found.area_G[0]) + int(plane.sum()) - both)
