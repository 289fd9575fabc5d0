"""Where the activations of a prefix come from: the images, or a shorter stored prefix.

Shapes: B images or stacks, M maps (the kept blocks, then the last), N tokens (of all frames of a
stack, one after the other), D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.data.content import Contents
from moekit.data.samples import Sample, Skipped
from moekit.data.stream import Preprocess, image_batches
from moekit.data.views import view
from moekit.errors import DataError
from moekit.moe.specialists import Grid
from moekit.moe.tokens import TokenRouting
from moekit.runtime.device import Arithmetic, autocast

_BATCH = 16
"""Frames of a batch, at most."""
_PATCHES = 4096
"""Patches of a batch, at most: large pictures come in smaller batches, so that progress shows."""
ReadStored = Callable[[np.ndarray, np.ndarray], tuple[Tensor, Mapping[int, Tensor]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivationBatch:
    """A batch of samples whose activations can be computed view by view.

    Attributes:
        rows: (B,) positions among the samples asked for.
        skipped: Samples before it whose image could not be read.
        maps_BMND: Given the number of a view, the activations, in bfloat16 on the CPU.
    """

    rows: np.ndarray
    skipped: tuple[Skipped, ...]
    maps_BMND: Callable[[int], Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockRange:
    """The blocks to run.

    Attributes:
        start: First block; 0 begins with the images.
        stop: The block after the last.
        keep: Blocks whose output is wanted next to that of the last.
        arithmetic: Arithmetic of the forward pass.
        top_k: Generic experts a token has, whatever the backbone object says.
        tokens: Which tokens are computed, if it begins with the images; all if None.
    """

    start: int
    stop: int
    keep: tuple[int, ...]
    arithmetic: Arithmetic
    top_k: int
    tokens: TokenRouting | None = None


def batches_of_images(
    samples: Sequence[Sample],
    *,
    backbone: MoEBackbone,
    blocks: BlockRange,
    preprocess: Preprocess,
    contents: Contents,
    expected: Sequence[str],
) -> Iterator[ActivationBatch]:
    """Batches that are computed from the images of the samples.

    Raises:
        DataError: The content of an image is not the one that is expected.
    """
    device = next(backbone.parameters()).device
    inputs = [(sample.id, sample.path) for sample in samples]
    windows = [sample.window for sample in samples]
    frame, patch = preprocess.frame, backbone.patch
    size = _size(Grid(frame.height // patch, frame.width // patch, preprocess.frames))
    for batch in image_batches(
        inputs, preprocess, batch_size=size, windows=windows, contents=contents
    ):
        for row, content in batch.contents.items():
            if content != expected[row]:
                raise DataError(
                    f"the image {samples[row].id} changed after it was hashed",
                    whose=str(samples[row].path),
                    fix="let nothing write to the data, then start a new run with another --out",
                    code="data/changed",
                )

        def maps(number: int, images: Tensor = batch.images) -> Tensor:
            seen = view(images, number).to(device)
            with autocast(device, blocks.arithmetic):
                x_BND, grid = backbone.embed(seen)
            return _run(x_BND, {}, grid, backbone, blocks, seen)

        yield ActivationBatch(
            rows=np.asarray(batch.rows, dtype=np.int64),
            skipped=batch.skipped,
            maps_BMND=maps,
        )


def batches_of_store(
    read: ReadStored,
    *,
    rows: Sequence[int],
    grid: Grid,
    backbone: MoEBackbone,
    blocks: BlockRange,
) -> Iterator[ActivationBatch]:
    """Batches that go on from stored activations, those of the given rows of their store."""
    device = next(backbone.parameters()).device
    size = _size(grid)
    for start in range(0, len(rows), size):
        chosen = np.asarray(rows[start : start + size])

        def maps(number: int, chosen: np.ndarray = chosen) -> Tensor:
            x_BND, kept = read(chosen, np.full_like(chosen, number))
            outputs = {**kept, blocks.start - 1: x_BND}
            moved = {block: value.to(device).float() for block, value in outputs.items()}
            return _run(moved[blocks.start - 1], moved, grid, backbone, blocks)

        places = np.arange(start, start + len(chosen))
        yield ActivationBatch(rows=places, skipped=(), maps_BMND=maps)


def _size(grid: Grid) -> int:
    """Samples of a batch."""
    return max(1, min(_BATCH // grid.frames, _PATCHES // (grid.rows * grid.columns * grid.frames)))


@torch.inference_mode()
def _run(
    x_BND: Tensor,
    known: Mapping[int, Tensor],
    grid: Grid,
    backbone: MoEBackbone,
    blocks: BlockRange,
    images: Tensor | None = None,
) -> Tensor:
    with autocast(x_BND.device, blocks.arithmetic):
        x_BND, later, _ = backbone.run_routed(
            x_BND,
            grid,
            images,
            tokens=blocks.tokens,
            start=blocks.start,
            stop=blocks.stop,
            keep=blocks.keep,
            top_k=blocks.top_k,
        )
    outputs = {**known, **later}
    maps_BMND = torch.stack([*(outputs[block] for block in blocks.keep), x_BND], dim=1)
    if grid.frames > 1:
        # From the frames of all stacks to stacks, the tokens of whose frames follow each other.
        maps_BTMND = maps_BMND.reshape(-1, grid.frames, *maps_BMND.shape[1:])
        maps_BMND = maps_BTMND.transpose(1, 2).flatten(2, 3)
    return maps_BMND.bfloat16().cpu()
