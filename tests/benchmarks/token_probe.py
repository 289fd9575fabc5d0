"""A linear probe of patches, with tokens routed in several ways: how much the features lose.

The probe is a ridge regression from the normalised outputs of two blocks to the shares of classes
in a patch. It is fitted again for each way, as a head would be trained with it. It says which way
of routing is worth training for, not how well a trained kit segments.

Shapes: P patches, F features, C classes.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from moekit.moe.tokens import TokenRouting

ROWS, COLUMNS, CLASSES, VOID = 26, 35, 11, 11
BLOCKS, RIDGE = (5, 11), 30.0


class RandomTokenGate:
    """Scores drawn from a seed that the picture itself gives."""

    def __call__(self, patch_BPD, grid, *, picture):
        scores = []
        for image in picture:
            generator = torch.Generator().manual_seed(int(image.abs().sum()))
            scores.append(torch.rand(grid.patches, generator=generator))
        return torch.stack(scores).to(patch_BPD.device)


@dataclasses.dataclass(frozen=True)
class Probed:
    """What a way of routing gives.

    Attributes:
        miou: Mean IoU over the classes, by shares of patches, in percent.
        share: Of the tokens that are computed.
    """

    miou: float
    share: float


def frames(folder: Path, split: str, step: int) -> list[str]:
    """The names of every `step`-th frame of a split of CamVid."""
    with (folder / "index.csv").open(encoding="utf-8") as file:
        return [row["id"] for row in csv.DictReader(file) if row["split"] == split][::step]


@torch.inference_mode()
def probe(backbone, folder: Path, *, train, test, routing: TokenRouting | None) -> Probed:
    """Fits the probe on some frames and judges it on others."""
    width = backbone.width * len(BLOCKS) + 1
    gram_FF, cross_FC = torch.zeros(width, width), torch.zeros(width, CLASSES)
    for name in train:
        x_PF, share_PC, _ = _frame(backbone, folder, name, routing)
        weight_P1 = share_PC.sum(1, keepdim=True)
        gram_FF += (x_PF * weight_P1).T @ x_PF
        cross_FC += x_PF.T @ share_PC
    map_FC = torch.linalg.solve((gram_FF + RIDGE * torch.eye(width)).double(), cross_FC.double())
    both_C, either_C, computed = torch.zeros(CLASSES), torch.zeros(CLASSES), []
    for name in test:
        x_PF, share_PC, of_all = _frame(backbone, folder, name, routing)
        said_PC = functional.one_hot((x_PF @ map_FC.float()).argmax(1), CLASSES).float()
        known_P1 = share_PC.sum(1, keepdim=True)
        both_C += (share_PC * said_PC).sum(0)
        either_C += (share_PC + said_PC * known_P1 - share_PC * said_PC).sum(0)
        computed.append(of_all)
    return Probed(
        miou=100 * float((both_C / either_C.clamp_min(1)).mean()), share=float(np.mean(computed))
    )


def _frame(backbone, folder, name, routing):
    """(P, F) features, (P, C) shares of the classes, and the share of computed tokens."""
    size = (COLUMNS * backbone.patch, ROWS * backbone.patch)
    picture = Image.open(folder / "images" / f"{name}.jpg").resize(size, Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    features = backbone(((pixels - mean) / std)[None], keep=BLOCKS, tokens=routing)
    maps = [features.blocks[block][0, backbone.prefix_tokens :] for block in BLOCKS]
    ones = torch.ones(len(maps[0]), 1)
    x_PF = torch.cat([*(functional.layer_norm(one, one.shape[1:]) for one in maps), ones], dim=1)
    labels = Image.open(folder / "masks" / f"{name}.png").resize(size, Image.Resampling.NEAREST)
    label_HW = torch.from_numpy(np.array(labels)).long().clamp(max=VOID)
    one_hot_HWC = functional.one_hot(label_HW, CLASSES + 1).float()
    cells = one_hot_HWC.view(ROWS, backbone.patch, COLUMNS, backbone.patch, -1).mean((1, 3))
    share_PC = cells.flatten(0, 1)[:, :CLASSES]
    return x_PF, share_PC, 1.0 if features.tokens is None else features.tokens.share
