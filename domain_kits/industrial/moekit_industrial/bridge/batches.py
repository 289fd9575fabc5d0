"""moekit's samples as anomalib's batches: the same pixels as the backbone sees in moekit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from moekit import Sample, Skipped
from moekit.data import Preprocess, image_batches
from moekit_industrial.bridge.library import ImageBatch


class Batches(IterableDataset[ImageBatch]):
    """The samples of a split, batch by batch; unreadable ones are left out and named.

    Images are resized to a square and normalised as for moekit's backbone, without a crop.

    Args:
        samples: Good parts.
        preprocess: How images are read.
        batch_size: Samples a batch.
        shuffle_seed: Decides the order, another one in each pass; the given order if None.

    Attributes:
        batch_size: Samples a batch.
        skipped: By its id what could not be read so far.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocess: Preprocess,
        *,
        batch_size: int,
        shuffle_seed: int | None = None,
    ) -> None:
        self._samples = tuple(samples)
        self._preprocess = preprocess
        self.batch_size = batch_size
        self._generator = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)
        self.skipped: dict[str, Skipped] = {}

    @property
    def count(self) -> int:
        """Samples of the split, readable or not."""
        return len(self._samples)

    def __len__(self) -> int:
        return -(-len(self._samples) // self.batch_size)

    def __iter__(self) -> Iterator[ImageBatch]:
        order = np.arange(len(self._samples))
        if self._generator is not None:
            order = self._generator.permutation(order)
        chosen = [self._samples[place] for place in order]
        inputs = [(sample.id, sample.path) for sample in chosen]
        frame = self._preprocess.frame
        for batch in image_batches(inputs, self._preprocess, batch_size=self.batch_size):
            for skip in batch.skipped:
                sample = next(one for one in chosen if one.id == skip.id)
                self.skipped[skip.id] = Skipped.of(sample, skip.reason)
            if batch.rows:
                count = len(batch.rows)
                yield ImageBatch(
                    image=batch.images,
                    gt_label=torch.tensor([chosen[row].label for row in batch.rows]).bool(),
                    gt_mask=torch.zeros(count, frame.height, frame.width, dtype=torch.bool),
                    image_path=[chosen[row].id for row in batch.rows],
                )

    def loader(self) -> DataLoader[ImageBatch]:
        """For anomalib's engine; images are decoded in threads of this process."""
        return DataLoader(self, batch_size=None, num_workers=0)


class GoodParts(LightningDataModule):
    """The splits as models of anomalib ask for them.

    Args:
        train: What a model learns from.
        val: What it is shown next to; None for nothing.
    """

    name = "moekit"
    category = ""

    def __init__(self, train: Batches, val: Batches | None) -> None:
        super().__init__()
        self._train, self._val = train, val
        self.train_batch_size = train.batch_size

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        """The training split."""
        return self._train.loader()

    def val_dataloader(self) -> DataLoader[ImageBatch] | list[DataLoader[ImageBatch]]:
        """The validation split, or no loader."""
        return [] if self._val is None else self._val.loader()
