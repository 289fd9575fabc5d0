"""The frozen prefix of a kit, computed once an image and kept on disk.

A kit's specialists begin at some block; what the blocks before it compute never changes while the
kit is trained. Their activations are stored in bfloat16 for each image and view, so that an epoch
runs only the blocks after it. An interrupted computation goes on where it stopped, and another seed
or recipe finds what is there.

Shapes: B rows read, T frames of a stack (1 for images), M stored maps, N tokens of a frame, D
width.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.data.geometry import Frame
from moekit.data.samples import Sample, Skipped
from moekit.data.stream import Preprocess
from moekit.data.views import ViewOrder, check_views, view_numbers
from moekit.errors import DataError, UsageError
from moekit.moe.specialists import Grid
from moekit.runtime.device import Arithmetic
from moekit.runtime.kit import KitModules
from moekit.training.pieces import Piece, Stretch, image_pieces, stored_pieces
from moekit.training.storage import Shelf

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixPlan:
    """What a stored prefix depends on, apart from the images themselves.

    Attributes:
        end: Number of blocks in the prefix.
        keep: Earlier blocks whose output is stored beside that of the last one.
        views: Views of each image.
        arithmetic: Arithmetic of the forward pass.
        preprocess: How images are read.
        backbone_sha256: Hash of the backbone's weights, and of its sparse form where it is used.
        top_k: Generic experts a token has.
        release: Version of moekit, since another one may compute otherwise.
        order: Which views there are.
    """

    end: int
    keep: tuple[int, ...]
    views: int
    arithmetic: Arithmetic
    preprocess: Preprocess
    backbone_sha256: str
    top_k: int
    release: str
    order: ViewOrder = "dihedral"

    @classmethod
    def of(
        cls,
        kit: KitModules,
        backbone: MoEBackbone,
        *,
        views: int,
        arithmetic: Arithmetic,
        size: int | None = None,
        frame: Frame | None = None,
        frames: int = 1,
        top_k: int | None = None,
        order: ViewOrder = "dihedral",
    ) -> PrefixPlan:
        """The plan for a kit on a backbone, for images, or stacks of them.

        Args:
            kit: Says where the prefix ends and which blocks are kept.
            backbone: Computes the prefix.
            views: Views of each image.
            arithmetic: Arithmetic of the forward pass.
            size: Side of square inputs, in pixels, over which pictures are stretched.
            frame: The inputs' size and fit, in place of `size`.
            frames: T, the frames of a sample; 1 for images.
            top_k: Generic experts a token has; the backbone's own if None.
            order: Which views are kept.

        Raises:
            UsageError: Neither or both of size and frame are given, or the frame has fewer views.
        """
        if (size is None) == (frame is None):
            raise UsageError(
                "a prefix needs a size or a frame, and not both",
                whose="PrefixPlan.of",
                fix="give size= for squares, or frame=",
                code="usage/no-size",
            )
        preprocess = Preprocess(
            size=size, frame=frame, mean=backbone.mean, std=backbone.std, frames=frames
        )
        check_views(preprocess.frame, views, order=order, whose="views")
        top_k = backbone.top_k if top_k is None else top_k
        return cls(
            end=kit.prefix_end,
            keep=tuple(kit.prefix_keep),
            views=views,
            arithmetic=arithmetic,
            preprocess=preprocess,
            backbone_sha256=backbone.computes_at(top_k),
            top_k=top_k,
            release=importlib.metadata.version("moekit"),
            order=order,
        )

    @property
    def name(self) -> str:
        """A hash of the plan, which names its folder."""
        content = dataclasses.asdict(self)
        reading = content["preprocess"]
        del reading["tiling"]  # a window is a picture of its own, see `_contents`
        if self.order == "dihedral":
            del content["order"]  # names are older than orders
        if self.preprocess.frames == 1:
            del reading["frames"]  # names of images are older than stacks
        frame = self.preprocess.frame
        if frame == Frame(height=frame.height, width=frame.height):
            del reading["frame"]  # names of squares are older than frames
            reading["size"] = frame.height
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the views, in their order."""
        return view_numbers(self.views, self.order)

    def shelf(
        self,
        folder: Path,
        backbone: MoEBackbone,
        *,
        limit: int,
        beside: Iterable[PrefixPlan] = (),
    ) -> Shelf:
        """Where activations of this plan lie, beside those of plans that are needed too."""
        grid = self.grid(backbone)
        tokens = (backbone.prefix_tokens + grid.patches) * grid.frames
        return Shelf(
            folder,
            self.name,
            (self.views, len(self.keep) + 1, tokens, backbone.width),
            limit=limit,
            beside=[plan.name for plan in beside],
        )

    def grid(self, backbone: MoEBackbone) -> Grid:
        """Rows and columns of the patch tokens, and the frames of a sample."""
        frame, patch = self.preprocess.frame, backbone.patch
        return Grid(frame.height // patch, frame.width // patch, self.preprocess.frames)


class PrefixStore:
    """The stored prefix of a list of samples. Made by `open_prefix`.

    Attributes:
        plan: What is stored.
        samples: Those whose image could be read, in order.
        images: The hash of each one's image, which names it on the shelf.
        skipped: Those whose image could not.
        grid: Rows and columns of the patch tokens, and the frames of a sample.
    """

    def __init__(
        self,
        *,
        shelf: Shelf,
        plan: PrefixPlan,
        images: Sequence[tuple[Sample, str]],
        skipped: Sequence[Skipped],
        grid: Grid,
    ) -> None:
        self._shelf = shelf
        self.plan = plan
        self.samples = tuple(sample for sample, _ in images)
        self.images = tuple(image for _, image in images)
        self.skipped = tuple(skipped)
        self.grid = grid

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def views(self) -> int:
        """How many views of each image are stored."""
        return self.plan.views

    @property
    def frame(self) -> Frame:
        """The input's size, and how pictures are fitted to it."""
        return self.plan.preprocess.frame

    def read(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, dict[int, Tensor]]:
        """Activations of some samples, each in one view.

        Args:
            rows: (B,) positions in `samples`.
            views: (B,) places of views in the plan's order.

        Returns:
            (B * T, N, D) bfloat16 tokens at the end of the prefix, the frames of a stack one after
            the other, and the kept blocks' outputs.
        """
        pairs = zip(rows, views, strict=True)
        stored = np.stack([self._shelf.read(self.images[row], int(view)) for row, view in pairs])
        maps_BMND = torch.from_numpy(stored).view(torch.bfloat16)
        if self.grid.frames > 1:
            images, maps, tokens, width = maps_BMND.shape
            shape = (images, maps, self.grid.frames, tokens // self.grid.frames, width)
            maps_BMND = maps_BMND.reshape(shape).transpose(1, 2).flatten(0, 1)
        kept = {block: maps_BMND[:, index] for index, block in enumerate(self.plan.keep)}
        return maps_BMND[:, -1], kept


def open_prefix(
    samples: Sequence[Sample],
    *,
    backbone: MoEBackbone,
    plan: PrefixPlan,
    folder: Path,
    limit: int,
    beside: Iterable[PrefixPlan] = (),
    source: PrefixStore | None = None,
    progress: Progress,
) -> PrefixStore:
    """Opens the stored prefix of some samples, computing what is not there yet.

    Args:
        samples: In a fixed order.
        backbone: Computes it, on its device.
        plan: Made by `PrefixPlan.of`.
        folder: Holds all stored prefixes.
        limit: Greatest size of the folder, in bytes.
        beside: Plans whose activations are needed at the same time.
        source: A shorter prefix of the same samples and views that keeps the same blocks, to go on
            from; the images are read where None.
        progress: Called with the images done and their total.

    Raises:
        DataError: No image could be read.
        StorageError: The prefix does not fit the limit or the disk.
    """
    shelf = plan.shelf(folder, backbone, limit=limit, beside=beside)
    hashes = source.images if source else _contents(samples)
    named = list(zip(samples, hashes, strict=True))
    shelf.make_room(image for _, image in named)
    missing = [row for row, (_, image) in enumerate(named) if not shelf.has(image)]
    skipped: list[Skipped] = []
    done = len(samples) - len(missing)
    for piece in _pieces(samples, missing, backbone, plan, source):
        if len(piece.rows):
            # A shorter prefix holds its views by place, pictures are turned by number.
            numbers = plan.numbers if source is None else range(plan.views)
            views = [piece.maps_BMND(number) for number in numbers]
            values = torch.stack(views, dim=1).view(torch.int16).numpy()
            for row, value in zip(piece.rows, values, strict=True):
                shelf.write(named[missing[row]][1], value)
        skipped.extend(piece.skipped)
        done += len(piece.rows) + len(piece.skipped)
        progress(done, len(samples))
    left_out = {skip.id for skip in skipped}
    images = [(sample, image) for sample, image in named if sample.id not in left_out]
    if not images:
        raise DataError(
            "not one image could be read",
            whose=samples[0].id,
            fix=f"check the data set; the first fault: {skipped[0].reason}",
            code="data/none-readable",
        )
    return PrefixStore(
        shelf=shelf, plan=plan, images=images, skipped=skipped, grid=plan.grid(backbone)
    )


def _pieces(
    samples: Sequence[Sample],
    missing: Sequence[int],
    backbone: MoEBackbone,
    plan: PrefixPlan,
    source: PrefixStore | None,
) -> Iterator[Piece]:
    stretch = Stretch(
        start=source.plan.end if source else 0,
        stop=plan.end,
        keep=plan.keep,
        arithmetic=plan.arithmetic,
        top_k=plan.top_k,
    )
    if source is None:
        return image_pieces(
            [samples[row] for row in missing],
            backbone=backbone,
            stretch=stretch,
            preprocess=plan.preprocess,
        )
    return stored_pieces(
        source.read, rows=missing, grid=source.grid, backbone=backbone, stretch=stretch
    )


def _contents(samples: Sequence[Sample]) -> list[str]:
    """The hash of each sample's file, and of where in it the sample lies."""
    read = functools.lru_cache(1)(_content)
    hashes = []
    for sample in samples:
        content = read(sample.path)
        if sample.window is not None:
            content = hashlib.sha256(f"{content} {tuple(sample.window)}".encode()).hexdigest()
        hashes.append(content)
    return hashes


def _content(path: Path) -> str:
    """The hash of the file's bytes; of its name where it cannot be read, which fails later."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return hashlib.sha256(b"unreadable" + str(path).encode()).hexdigest()
