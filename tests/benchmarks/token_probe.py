"""A linear probe of patches, with tokens routed in several ways: how much the features lose.

The probe is a ridge regression from the normalised outputs of two blocks to the shares of classes
in a patch. It is fitted again for each way, as a head would be trained with it. It says which way
of routing is worth training for, not how well a trained kit segments.

Pictures are letterboxed to an input of a given width. All ways see the same pictures.

Shapes: P patches, F features, C classes, H and W rows and columns of the input.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.moe.specialists import Grid
from moekit.moe.tokens import TokenRouting
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.plan import block_operations

CLASSES, VOID = 11, 11
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
    """What a way of routing gives on some frames.

    Attributes:
        counts: (frames, 2, C) of each class the patches that are both said and so, and either.
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
        """Points of mIoU lost, and the 95% interval over pictures (paired percentile bootstrap)."""
        source = np.random.default_rng(0)
        rows = source.integers(len(self.counts), size=(draws, len(self.counts)))
        lost = [miou(dense.counts[row]) - miou(self.counts[row]) for row in rows]
        low, high = np.quantile(lost, (0.025, 0.975))
        return dense.miou - self.miou, float(low), float(high)


def miou(counts: np.ndarray) -> float:
    """Of (frames, 2, C) counts, in percent."""
    both_C, either_C = counts.sum(0)
    return 100 * float((both_C / np.maximum(either_C, 1)).mean())


def frames(folder: Path, split: str, count: int) -> list[str]:
    """The names of `count` frames of a split of CamVid, evenly spread.

    `fit` is the first four fifths of each training sequence, `choose` the rest of it less a gap.
    """
    with (folder / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    of = "val" if split == "val" else "train"
    names: list[str] = []
    for sequence in sorted({row["sequence"] for row in rows}):
        own = [row["id"] for row in rows if row["split"] == of and row["sequence"] == sequence]
        cut = len(own) * 4 // 5
        names += {"fit": own[:cut], "choose": own[cut + 2 :], "val": own}[split]
    return [names[place] for place in np.linspace(0, len(names) - 1, count).round().astype(int)]


def reading(backbone, width: int) -> Preprocess:
    """How CamVid's pictures, of 4 to 3, are read at a width that is a multiple of the patch."""
    height = -(-width * 3 // 4 // backbone.patch) * backbone.patch
    frame = Frame(height=height, width=width, fit="letterbox")
    return Preprocess(frame=frame, mean=backbone.mean, std=backbone.std)


def grid_at(backbone, width: int) -> Grid:
    """Rows and columns of the patches."""
    frame = reading(backbone, width).frame
    return Grid(frame.height // backbone.patch, frame.width // backbone.patch)


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
    folder: Path,
    *,
    width: int,
    arithmetic: Arithmetic,
    fit: Sequence[str],
    judged: Mapping[str, Sequence[str]],
    ways: Mapping[str, TokenRouting | None],
    told=lambda _: None,
) -> dict[str, dict[str, Probed]]:
    """Fits the probe for each way on some frames, and judges it on others.

    Args:
        backbone: With all experts.
        folder: CamVid's.
        width: W of the input.
        arithmetic: Of the backbone.
        fit: Frames.
        judged: Frames by the name of their set.
        ways: By name.
        told: Called with a line after each frame.

    Returns:
        By set and way.
    """
    size = backbone.width * len(BLOCKS) + 1
    gram = {name: torch.zeros(size, size) for name in ways}
    cross = {name: torch.zeros(size, CLASSES) for name in ways}
    for frame in fit:
        for way, x_PF, share_PC, _ in _seen(backbone, folder, frame, width, ways, arithmetic):
            gram[way] += (x_PF * share_PC.sum(1, keepdim=True)).T @ x_PF
            cross[way] += x_PF.T @ share_PC
        told(f"{width} px, fit: {frame}")
    ridge = RIDGE * torch.eye(size)
    maps = {
        way: torch.linalg.solve((gram[way] + ridge).double(), cross[way].double()) for way in ways
    }
    found: dict[str, dict[str, Probed]] = {}
    for of, names in judged.items():
        counts: dict[str, list[np.ndarray]] = {way: [] for way in ways}
        shares: dict[str, list[float]] = {way: [] for way in ways}
        for frame in names:
            for way, x_PF, share_PC, share in _seen(
                backbone, folder, frame, width, ways, arithmetic
            ):
                said_PC = functional.one_hot((x_PF @ maps[way].float()).argmax(1), CLASSES).float()
                both_PC = share_PC * said_PC
                either_PC = share_PC + said_PC * share_PC.sum(1, keepdim=True) - both_PC
                counts[way].append(torch.stack([both_PC.sum(0), either_PC.sum(0)]).numpy())
                shares[way].append(share)
            told(f"{width} px, {of}: {frame}")
        found[of] = {}
        whole = backbone.prefix_tokens + len(share_PC)
        for way, routing in ways.items():
            share = float(np.mean(shares[way]))
            depth, block = len(backbone.blocks), 0 if routing is None else routing.block
            part = operations(backbone, round(share * whole)) / operations(backbone, whole)
            ratio = (block + (depth - block) * part) / depth
            found[of][way] = Probed(np.stack(counts[way]), share, ratio)
    return found


def _seen(backbone, folder, name, width, ways, arithmetic) -> Iterator[tuple]:
    """By way (P, F) features, (P, C) shares of the classes, and the share of computed tokens."""
    preprocess = reading(backbone, width)
    grid = grid_at(backbone, width)
    picture = preprocess(folder / "images" / f"{name}.jpg")[None]
    share_PC = _labels(folder / "masks" / f"{name}.png", preprocess.frame, grid, backbone.patch)
    for way, routing in ways.items():
        with autocast(picture.device, arithmetic):
            features = backbone(picture, keep=BLOCKS, tokens=routing)
        maps = [features.blocks[block][0, backbone.prefix_tokens :].float() for block in BLOCKS]
        ones = torch.ones(len(maps[0]), 1)
        x_PF = torch.cat(
            [*(functional.layer_norm(one, one.shape[1:]) for one in maps), ones], dim=1
        )
        yield way, x_PF, share_PC, 1.0 if features.tokens is None else features.tokens.share


def _labels(path: Path, frame: Frame, grid: Grid, patch: int) -> torch.Tensor:
    """(P, C) shares of the classes; nothing is known of the border of a letterbox."""
    label_HW = frame.place(np.array(Image.open(path)).astype(np.int64), border=VOID)
    one_hot_HWC = functional.one_hot(torch.from_numpy(label_HW).clamp(max=VOID), CLASSES + 1)
    cells = one_hot_HWC.float().view(grid.rows, patch, grid.columns, patch, -1).mean((1, 3))
    return cells.flatten(0, 1)[:, :CLASSES]
