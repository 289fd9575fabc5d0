"""Crops drawn in each step, for trainings that have no frozen part to store.

Shapes: B images, V large crops of an image (2), S small ones, H and W sides of the input.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from moekit.data.geometry import Frame
from moekit.data.samples import Sample, Skipped
from moekit.data.stream import Preprocess, cropped
from moekit.data.views import RECTANGLE_VIEWS, VIEWS, view
from moekit.errors import DataError, ImageError
from moekit.pretraining.crops import crop_box
from moekit.pretraining.objectives import LARGE
from moekit.pretraining.recipe import PretrainRecipe

_THREADS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fresh:
    """Reads images and crops them.

    Attributes:
        samples: The images, all of which can be read.
        large: Reads large crops and whole images.
        small: Reads small crops.
        recipe: How many crops of which size, and how many flips and turns there are.
    """

    samples: Sequence[Sample]
    large: Preprocess
    small: Preprocess
    recipe: PretrainRecipe

    def read(self, places: np.ndarray, seed: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Crops of some images, drawn by the seed and the place of each.

        Args:
            places: (B,) positions in `samples`.
            seed: Of the step.

        Returns:
            (V * B, 3, H, W) large crops, the first of all images before the second of all, and the
            small ones in the same order; None if there are none.

        Raises:
            ImageError: A file can no longer be read.
        """
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            many = list(pool.map(lambda place: self._crops(int(place), seed), places))
        large = torch.stack([crops[0][crop] for crop in range(LARGE) for crops in many])
        count = self.recipe.small_crops
        if not count:
            return large, None
        return large, torch.stack([crops[1][crop] for crop in range(count) for crops in many])

    def whole(self, samples: Sequence[Sample], batch_size: int = 16) -> Iterator[Tensor]:
        """Whole images in batches, (B, 3, H, W)."""
        for start in range(0, len(samples), batch_size):
            yield torch.stack([self.large(one.path) for one in samples[start : start + batch_size]])

    def _crops(self, place: int, seed: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        generator = np.random.default_rng([*seed, place])
        frames, _ = self.large.read(self.samples[place].path)
        size = (frames[0].height, frames[0].width)
        recipe, found = self.recipe, []
        for reads, count, area in (
            (self.large, LARGE, recipe.large_area),
            (self.small, recipe.small_crops, recipe.small_area),
        ):
            crops = []
            for _ in range(count):
                one = reads.stack(cropped(frames, crop_box(size, area, generator)))
                number = int(generator.integers(min(recipe.views, views_in(reads.frame))))
                crops.append(view(one, number))
            found.append(crops)
        return found[0], found[1]


def readable(
    samples: tuple[Sample, ...],
    on_progress: Callable[[str, int, int], None],
    *,
    least: int,
) -> tuple[tuple[Sample, ...], tuple[Skipped, ...]]:
    """The images that can be read, and the others: a step has no time to find out.

    Args:
        samples: The images.
        on_progress: Called with a description, the images done and their total.
        least: How many must be left; two at least.

    Raises:
        DataError: There are fewer.
    """
    reads = Preprocess.square(2, mean=(0, 0, 0), std=(1, 1, 1))
    good, lost = [], []
    for done, one in enumerate(samples, start=1):
        try:
            reads.read(one.path)
            good.append(one)
        except ImageError as error:
            lost.append(Skipped.of(one, error.what))
        on_progress("looking whether images can be read", done, len(samples))
    if len(good) < max(2, least):
        raise DataError(
            f"only {len(good)} images can be read",
            whose=samples[0].id,
            fix="give more images; a backbone from random weights needs millions",
            code="data/too-few",
        )
    return tuple(good), tuple(lost)


def views_in(frame: Frame) -> int:
    """How many flips and turns inputs of a frame have."""
    return VIEWS if frame.height == frame.width else RECTANGLE_VIEWS
