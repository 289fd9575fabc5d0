"""The frozen prefix of a kit, computed once and kept on disk.

A kit's specialists begin at some block; what the blocks before it compute never changes while the
kit is trained. Their activations are stored in bfloat16 for each image and view, so that an epoch
runs only the blocks after it. An interrupted computation goes on where it stopped.

Shapes: B rows read, M stored maps, N tokens, D width.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.data.samples import Sample, Skipped
from moekit.data.stream import Preprocess
from moekit.errors import DataError
from moekit.moe.specialists import Grid
from moekit.runtime.device import Arithmetic
from moekit.runtime.kit import KitModules
from moekit.training.pieces import BATCH, Stretch, image_pieces, stored_pieces
from moekit.training.storage import Shelf, StoredMaps

Progress = Callable[[int, int], None]
_SAVE_EVERY = 16 * BATCH


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixPlan:
    """What a stored prefix depends on, apart from the images themselves.

    Attributes:
        end: Number of blocks in the prefix.
        keep: Earlier blocks whose output is stored beside that of the last one.
        views: Views of each image.
        arithmetic: Arithmetic of the forward pass.
        preprocess: How images are read.
        backbone_sha256: Hash of the backbone's weights.
        top_k: Generic experts a token has.
    """

    end: int
    keep: tuple[int, ...]
    views: int
    arithmetic: Arithmetic
    preprocess: Preprocess
    backbone_sha256: str
    top_k: int

    @classmethod
    def of(
        cls,
        kit: KitModules,
        backbone: MoEBackbone,
        *,
        views: int,
        arithmetic: Arithmetic,
        size: int,
    ) -> PrefixPlan:
        """The plan for a kit on a backbone, for images of `size` pixels."""
        return cls(
            end=kit.prefix_end,
            keep=tuple(kit.prefix_keep),
            views=views,
            arithmetic=arithmetic,
            preprocess=Preprocess(size=size, mean=backbone.mean, std=backbone.std),
            backbone_sha256=backbone.provenance.sha256,
            top_k=backbone.top_k,
        )

    def key(self, samples: Sequence[Sample]) -> str:
        """Names the prefix of these samples: a hash of the plan and of each image's bytes."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode())
        for sample in samples:
            digest.update(sample.id.encode() + b"\0" + _content(sample.path))
        return digest.hexdigest()[:32]

    def maps_shape(self, backbone: MoEBackbone) -> tuple[int, int, int]:
        """(M, N, D) of one image in one view."""
        grid = self.grid(backbone)
        tokens = backbone.prefix_tokens + grid.rows * grid.columns
        return len(self.keep) + 1, tokens, backbone.width

    def grid(self, backbone: MoEBackbone) -> Grid:
        """Rows and columns of the patch tokens."""
        side = self.preprocess.size // backbone.patch
        return Grid(side, side)


class PrefixStore:
    """The stored prefix of a list of samples. Made by `open_prefix`.

    Attributes:
        plan: What is stored.
        samples: Those whose image could be read, in order.
        skipped: Those whose image could not.
        grid: Rows and columns of the patch tokens.
    """

    def __init__(
        self, *, maps: StoredMaps, plan: PrefixPlan, samples: Sequence[Sample], grid: Grid
    ) -> None:
        readable = [row for row in range(len(samples)) if row not in maps.unreadable]
        self._maps = maps
        self._readable = np.array(readable, dtype=np.int64)
        self.plan = plan
        self.samples = tuple(samples[row] for row in readable)
        self.skipped = tuple(
            Skipped(id=samples[row].id, reason=reason) for row, reason in maps.unreadable.items()
        )
        self.grid = grid

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, dict[int, Tensor]]:
        """Activations of some samples, each in one view.

        Args:
            rows: (B,) positions in `samples`.
            views: (B,) numbers of views.

        Returns:
            (B, N, D) bfloat16 tokens at the end of the prefix, and the kept blocks' outputs.
        """
        stored = self._maps.array[self._readable[rows] * self.plan.views + views]
        maps_BMND = torch.from_numpy(np.ascontiguousarray(stored)).view(torch.bfloat16)
        kept = {block: maps_BMND[:, index] for index, block in enumerate(self.plan.keep)}
        return maps_BMND[:, -1], kept


def open_prefix(
    samples: Sequence[Sample],
    *,
    backbone: MoEBackbone,
    plan: PrefixPlan,
    shelf: Shelf,
    source: PrefixStore | None = None,
    progress: Progress,
) -> PrefixStore:
    """Opens the stored prefix of some samples, computing what is not there yet.

    Args:
        samples: In a fixed order.
        backbone: Computes it, on its device.
        plan: Made by `PrefixPlan.of`.
        shelf: Holds all stored prefixes.
        source: A shorter prefix of the same samples and views that keeps the same blocks, to go on
            from; the images are read where None.
        progress: Called with the images done and their total.

    Raises:
        DataError: No image could be read.
        StorageError: The prefix does not fit the shelf or the disk.
    """
    shape = (len(samples) * plan.views, *plan.maps_shape(backbone))
    maps = shelf.open(plan.key(samples), shape)
    if maps.done < len(samples):
        _compute(maps, samples, backbone, plan, source, progress)
    if len(maps.unreadable) == len(samples):
        raise DataError(
            "not one image could be read",
            whose=samples[0].id,
            fix="check the data set; the first fault: " + next(iter(maps.unreadable.values())),
        )
    return PrefixStore(maps=maps, plan=plan, samples=samples, grid=plan.grid(backbone))


def _compute(
    maps: StoredMaps,
    samples: Sequence[Sample],
    backbone: MoEBackbone,
    plan: PrefixPlan,
    source: PrefixStore | None,
    progress: Progress,
) -> None:
    row_of = {sample.id: row for row, sample in enumerate(samples)}
    stretch = Stretch(
        start=source.plan.end if source else 0,
        stop=plan.end,
        keep=plan.keep,
        arithmetic=plan.arithmetic,
    )
    if source is None:
        pieces = image_pieces(
            samples,
            first=maps.done,
            backbone=backbone,
            stretch=stretch,
            preprocess=plan.preprocess,
        )
    else:
        pieces = stored_pieces(
            source.read,
            first=maps.done,
            total=len(samples),
            grid=source.grid,
            backbone=backbone,
            stretch=stretch,
        )
    for piece in pieces:
        for number in range(plan.views if len(piece.rows) else 0):
            values = piece.maps_BMND(number).view(torch.int16).numpy()
            maps.array[piece.rows * plan.views + number] = values
        maps.unreadable |= {row_of[skip.id]: skip.reason for skip in piece.skipped}
        maps.done += len(piece.rows) + len(piece.skipped)
        progress(maps.done, len(samples))
        if maps.done % _SAVE_EVERY == 0:
            maps.save()
    maps.save()


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"unreadable"
