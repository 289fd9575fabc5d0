"""A linear probe of patches, with tokens routed in several ways: how much the features lose.

The probe is a ridge regression from the normalised outputs of two blocks to the shares of classes
in a patch. It is fitted again for each way, as a head would be trained with it. It says which way
of routing is worth training for, not how well a trained kit segments.

Pictures are letterboxed to an input of a given width. All ways see the same pictures.

Shapes: P patches, F features, C classes, H and W rows and columns of the input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from moekit.moe.specialists import Grid
from moekit.moe.tokens import TokenRouting
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.plan import block_operations
from tests.benchmarks.probe_sets import Picture, ProbeSet, grid_at, reading

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
    """What a way of routing gives on some pictures.

    Attributes:
        counts: (n, 2, C) of each class the patches that are both said and so, and either; of each
            picture, or of each group of them.
        share: Of the tokens that are computed.
        ratio: Operations of all blocks, as a share of those of the dense backbone.
    """

    counts: np.ndarray
    share: float
    ratio: float

    @property
    def miou(self) -> float:
        """Mean IoU over the classes, by shares of patches, in percent."""
        return miou(self.counts)

    def loss_to(self, dense: Probed, *, draws: int = 2000) -> tuple[float, float, float]:
        """Points of mIoU lost, and the 95% interval over what is drawn (paired bootstrap)."""
        source = np.random.default_rng(0)
        rows = source.integers(len(self.counts), size=(draws, len(self.counts)))
        lost = [miou(dense.counts[row]) - miou(self.counts[row]) for row in rows]
        low, high = np.quantile(lost, (0.025, 0.975))
        return dense.miou - self.miou, float(low), float(high)


def miou(counts: np.ndarray) -> float:
    """Of (n, 2, C) counts, in percent, over the classes that are there."""
    both_C, either_C = counts.sum(0)
    there_C = either_C > 0
    return 100 * float((both_C[there_C] / np.maximum(either_C[there_C], 1)).mean())


def share_at(backbone, grid: Grid, *, times: float, block: int, window: int | None) -> float:
    """The share of patches at which the backbone has a part of its operations; 0 or less if none.

    Args:
        backbone: With all experts.
        grid: Of the patches.
        times: By how much the dense backbone has more operations.
        block: The first block that is routed; the last is the backbone's last.
        window: As of `TokenRouting`.
    """
    depth, whole = len(backbone.blocks), backbone.prefix_tokens + grid.patches
    goal = operations(backbone, whole) * (depth / times - block) / (depth - block)
    tokens = max(range(whole), key=lambda few: (operations(backbone, few) <= goal) * few)
    windows = 0 if window is None else -(-grid.rows // window) * -(-grid.columns // window)
    return (tokens - backbone.prefix_tokens - windows - 1) / (grid.patches - windows)


def operations(backbone, tokens: int) -> float:
    """Of a block that computes `tokens` tokens."""
    return block_operations(backbone, tokens, backbone.top_k)


@torch.inference_mode()
def probe(
    backbone,
    of: ProbeSet,
    *,
    width: int,
    arithmetic: Arithmetic,
    fit: Sequence[Picture],
    judged: Mapping[str, Sequence[Picture]],
    ways: Mapping[str, TokenRouting | None],
    told=lambda _: None,
) -> dict[str, dict[str, Probed]]:
    """Fits the probe for each way on some pictures, and judges it on others.

    Args:
        backbone: With all experts.
        of: Whose pictures they are.
        width: W of the input.
        arithmetic: Of the backbone.
        fit: What is learned from.
        judged: Pictures by the name of their split.
        ways: By name.
        told: Called with a line after each picture.

    Returns:
        By split and way.
    """
    size = backbone.width * len(BLOCKS) + 1
    gram = {name: torch.zeros(of.classes, size, size) for name in ways}
    cross = {name: torch.zeros(of.classes, size) for name in ways}
    patches_C = torch.zeros(of.classes)
    for picture in fit:
        for way, x_PF, share_PC, _ in _seen(backbone, of, picture, width, ways, arithmetic):
            for label, share_P in enumerate(share_PC.T):
                gram[way][label] += (x_PF * share_P[:, None]).T @ x_PF
            cross[way] += share_PC.T @ x_PF
        patches_C += share_PC.sum(0)
        told(f"{width} px, fit: {picture.image.stem}")
    weight_C = (patches_C.sum() / patches_C.clamp(min=1)) ** of.balance
    ridge = RIDGE * torch.eye(size)
    maps = {}
    for way in ways:
        weighed = (gram[way] * weight_C[:, None, None]).sum(0) + ridge
        maps[way] = torch.linalg.solve(
            weighed.double(), (cross[way] * weight_C[:, None]).T.double()
        )
    found: dict[str, dict[str, Probed]] = {}
    for split, pictures in judged.items():
        counts: dict[str, dict[str, np.ndarray]] = {way: {} for way in ways}
        shares: dict[str, list[float]] = {way: [] for way in ways}
        for picture in pictures:
            for way, x_PF, share_PC, share in _seen(backbone, of, picture, width, ways, arithmetic):
                said_P = (x_PF @ maps[way].float()).argmax(1)
                said_PC = functional.one_hot(said_P, of.classes).float()
                both_PC = share_PC * said_PC
                either_PC = share_PC + said_PC * share_PC.sum(1, keepdim=True) - both_PC
                own = torch.stack([both_PC.sum(0), either_PC.sum(0)]).numpy()
                counts[way][picture.group] = counts[way].get(picture.group, 0) + own
                shares[way].append(share)
            told(f"{width} px, {split}: {picture.image.stem}")
        found[split] = {}
        whole = backbone.prefix_tokens + len(share_PC)
        for way, routing in ways.items():
            share = float(np.mean(shares[way]))
            depth, block = len(backbone.blocks), 0 if routing is None else routing.block
            part = operations(backbone, round(share * whole)) / operations(backbone, whole)
            ratio = (block + (depth - block) * part) / depth
            found[split][way] = Probed(np.stack(list(counts[way].values())), share, ratio)
    return found


def _seen(backbone, of, one, width, ways, arithmetic) -> Iterator[tuple]:
    """By way (P, F) features, (P, C) shares of the classes, and the share of computed tokens."""
    preprocess, grid = reading(backbone, width), grid_at(backbone, width)
    picture = preprocess(one.image)[None]
    share_PC = _labels(one, of.classes, preprocess.frame, grid, backbone.patch)
    for way, routing in ways.items():
        with autocast(picture.device, arithmetic):
            features = backbone(picture, keep=BLOCKS, tokens=routing)
        maps = [features.blocks[block][0, backbone.prefix_tokens :].float() for block in BLOCKS]
        ones = torch.ones(len(maps[0]), 1)
        x_PF = torch.cat(
            [*(functional.layer_norm(one, one.shape[1:]) for one in maps), ones], dim=1
        )
        yield way, x_PF, share_PC, 1.0 if features.tokens is None else features.tokens.share


def _labels(one, classes, frame, grid, patch) -> torch.Tensor:
    """(P, C) shares of the classes; nothing is known of the border of a letterbox."""
    label_HW = frame.place(np.array(Image.open(one.mask)).astype(np.int64), border=classes)
    one_hot_HWC = functional.one_hot(torch.from_numpy(label_HW).clamp(max=classes), classes + 1)
    cells = one_hot_HWC.float().view(grid.rows, patch, grid.columns, patch, -1).mean((1, 3))
    return cells.flatten(0, 1)[:, :classes]
