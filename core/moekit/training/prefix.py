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
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.data.content import Contents
from moekit.data.geometry import Frame
from moekit.data.samples import Sample, Skipped
from moekit.data.views import view
from moekit.errors import DataError, StorageError
from moekit.moe.specialists import Grid
from moekit.training.activation_batches import (
    ActivationBatch,
    BlockRange,
    batches_of_images,
    batches_of_store,
)
from moekit.training.activation_cache import ActivationCache
from moekit.training.inputs import Inputs
from moekit.training.prefix_plan import PrefixPlan

_logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


class PrefixStore:
    """The stored prefix of a list of samples. Made by `open_prefix`.

    Attributes:
        plan: What is stored.
        numbers: The number of each stored view.
        samples: Those whose image could be read, in order.
        images: The hash of each one's image, which names it in the cache.
        skipped: Those whose image could not.
        grid: Rows and columns of the patch tokens, and the frames of a sample.
        made_again: How many samples' activations were damaged or gone, and computed again.
    """

    def __init__(
        self, *, maker: _Maker, rows: Sequence[int], skipped: Sequence[Skipped], grid: Grid
    ) -> None:
        self._maker, self._rows = maker, rows
        self.plan = maker.plan
        self.numbers = self.plan.numbers
        self.samples = tuple(maker.samples[row] for row in rows)
        self.images = tuple(maker.names[row] for row in rows)
        self.skipped = tuple(skipped)
        self.grid = grid
        self.made_again = 0
        self._inputs = Inputs(self.samples, self.plan.preprocess)

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
        stored = np.stack([self._stored(int(row), int(view)) for row, view in pairs])
        maps_BMND = torch.from_numpy(stored).view(torch.bfloat16)
        if self.grid.frames > 1:
            images, maps, tokens, width = maps_BMND.shape
            shape = (images, maps, self.grid.frames, tokens // self.grid.frames, width)
            maps_BMND = maps_BMND.reshape(shape).transpose(1, 2).flatten(0, 1)
        kept = {block: maps_BMND[:, index] for index, block in enumerate(self.plan.keep)}
        return maps_BMND[:, -1], kept

    def pictures(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """The normalised inputs of some samples, each in one view, read from their files.

        Args:
            rows: (B,) positions in `samples`.
            views: (B,) places of views in the plan's order.

        Returns:
            (B, 3, H, W) float32, or (B, T, 3, H, W) of stacks.

        Raises:
            ImageError: A file can no longer be read.
        """
        pairs = zip(rows, views, strict=True)
        numbers = self.plan.numbers
        found = [view(self._inputs[int(row)], numbers[int(place)]) for row, place in pairs]
        return torch.stack(found)

    def _stored(self, row: int, view: int) -> np.ndarray:
        """One view; activations that are damaged or gone are computed again, with a note."""
        cache, image = self._maker.cache, self.images[row]
        try:
            return cache.read(image, view)
        except StorageError as error:
            told = _logger.info if self.made_again else _logger.warning
            told("%s (%s); they are computed again", error.what, error.whose)
            self.made_again += 1
            for _ in self._maker.make([self._rows[row]]):
                pass
            return cache.read(image, view)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Maker:
    """Computes activations of samples and puts them in the cache."""

    cache: ActivationCache
    plan: PrefixPlan
    backbone: MoEBackbone
    samples: Sequence[Sample]
    files: Sequence[str]
    names: Sequence[str]
    contents: Contents
    source: PrefixStore | None

    def make(self, rows: Sequence[int]) -> Iterator[ActivationBatch]:
        """Stores the activations of samples; yields each batch once it is stored."""
        plan = self.plan
        for batch in self._batches(rows):
            if len(batch.rows):
                # A shorter prefix holds its views by place, pictures are turned by number.
                numbers = plan.numbers if self.source is None else range(plan.views)
                views = [batch.maps_BMND(number) for number in numbers]
                values = torch.stack(views, dim=1).view(torch.int16).numpy()
                for row, value in zip(batch.rows, values, strict=True):
                    self.cache.write(self.names[rows[row]], value)
            yield batch

    def _batches(self, rows: Sequence[int]) -> Iterator[ActivationBatch]:
        plan, source = self.plan, self.source
        blocks = BlockRange(
            start=source.plan.end if source else 0,
            stop=plan.end,
            keep=plan.keep,
            arithmetic=plan.arithmetic,
            top_k=plan.top_k,
            tokens=plan.tokens,
        )
        if source is None:
            return batches_of_images(
                [self.samples[row] for row in rows],
                backbone=self.backbone,
                blocks=blocks,
                preprocess=plan.preprocess,
                contents=self.contents,
                expected=[self.files[row] for row in rows],
            )
        return batches_of_store(
            source.read, rows=rows, grid=source.grid, backbone=self.backbone, blocks=blocks
        )


def open_prefix(
    samples: Sequence[Sample],
    *,
    backbone: MoEBackbone,
    plan: PrefixPlan,
    folder: Path,
    limit: int,
    kept: Iterable[PrefixPlan] = (),
    source: PrefixStore | None = None,
    progress: Progress,
    contents: Contents | None = None,
) -> PrefixStore:
    """Opens the stored prefix of some samples, computing what is not there yet.

    Args:
        samples: In a fixed order.
        backbone: Computes it, on its device.
        plan: Made by `PrefixPlan.of`.
        folder: Holds all stored prefixes.
        limit: Greatest size of the folder, in bytes.
        kept: Plans whose activations are needed at the same time.
        source: A shorter prefix of the same samples and views that keeps the same blocks, to go on
            from; the images are read if None.
        progress: Called with the images done and their total.
        contents: Hashes of the images, if they are known already.

    Raises:
        DataError: No image could be read, or one changed since it was hashed.
        StorageError: The prefix does not fit the limit or the disk.
    """
    cache = plan.cache(folder, backbone, limit=limit, kept=kept)
    contents = contents or Contents()
    read = functools.lru_cache(1)(contents.of)
    files = [] if source else [read(sample.path) for sample in samples]
    names = source.images if source else _names(samples, files)
    cache.make_room(names)
    maker = _Maker(
        cache=cache,
        plan=plan,
        backbone=backbone,
        samples=samples,
        files=files,
        names=names,
        contents=contents,
        source=source,
    )
    missing = [row for row, name in enumerate(names) if not cache.has(name)]
    skipped: list[Skipped] = []
    done = len(samples) - len(missing)
    for batch in maker.make(missing):
        skipped.extend(batch.skipped)
        done += len(batch.rows) + len(batch.skipped)
        progress(done, len(samples))
    left_out = {skip.id for skip in skipped}
    rows = [row for row, sample in enumerate(samples) if sample.id not in left_out]
    if not rows:
        raise DataError(
            "not one image could be read",
            whose=samples[0].id,
            fix=f"check the data set; the first fault: {skipped[0].reason}",
            code="data/none-readable",
        )
    return PrefixStore(maker=maker, rows=rows, skipped=skipped, grid=plan.grid(backbone))


def _names(samples: Sequence[Sample], files: Sequence[str]) -> list[str]:
    """The name of each sample in the cache: the hash of its file, and of where in it it lies.

    Of a file that cannot be read, which fails later, it is a hash of its path.
    """
    names = []
    for sample, content in zip(samples, files, strict=True):
        if not content:
            content = hashlib.sha256(b"unreadable" + str(sample.path).encode()).hexdigest()
        if sample.window is not None:
            content = hashlib.sha256(f"{content} {tuple(sample.window)}".encode()).hexdigest()
        names.append(content)
    return names
