"""The stored crops of images: the trunk's tokens before the first specialist, computed once.

Shapes: B images, V large crops of an image in a step, S small ones, R rows (frames of all crops), N
tokens, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.data.content import Contents
from moekit.data.geometry import Frame
from moekit.data.samples import Sample, Skipped
from moekit.errors import DataError
from moekit.pretraining.crops import cropped_samples, small_frame
from moekit.pretraining.objectives import LARGE
from moekit.pretraining.recipe import PretrainRecipe
from moekit.training.prefix import PrefixStore, open_prefix
from moekit.training.prefix_plan import PrefixPlan

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activations:
    """How activations are computed and where they are kept.

    Attributes:
        backbone: The frozen trunk.
        plan: What is stored of whole images; crops change its input and views.
        folder: Holds all stored prefixes.
        limit: Greatest size of the folder, in bytes.
        contents: Hashes of the images.
        on_progress: Called with a description, the images done and their total.
    """

    backbone: MoEBackbone
    plan: PrefixPlan
    folder: Path
    limit: int
    contents: Contents
    on_progress: Progress

    def open(
        self, samples: Sequence[Sample], plan: PrefixPlan, what: str, kept: Sequence[PrefixPlan]
    ) -> PrefixStore:
        """The stored prefix of some samples, computed as far as it is not there."""
        return open_prefix(
            samples,
            backbone=self.backbone,
            plan=plan,
            folder=self.folder,
            limit=self.limit,
            kept=kept,
            progress=lambda done, total: self.on_progress(what, done, total),
            contents=self.contents,
        )

    def plans(self, recipe: PretrainRecipe) -> tuple[PrefixPlan, PrefixPlan, PrefixPlan]:
        """Of large crops, small crops and whole images."""
        whole = dataclasses.replace(self.plan, views=1, keep=())
        small = small_frame(self._frame, recipe.small_share, self.backbone.patch)
        narrow = dataclasses.replace(whole.preprocess, frame=small)
        return (
            dataclasses.replace(whole, views=recipe.views),
            dataclasses.replace(whole, views=recipe.views, preprocess=narrow),
            whole,
        )

    @property
    def _frame(self) -> Frame:
        return self.plan.preprocess.frame


class Bank:
    """Stored crops, from which steps draw.

    Args:
        samples: The images.
        activations: Where the activations come from.
        recipe: How many crops of which size.
        seed: Of the crops.

    Attributes:
        images: Ids of those that could be read, in order.
        skipped: Those that could not.
        large: The patches of large crops.
        small: Those of small crops.

    Raises:
        DataError: Fewer than two images could be read.
        StorageError: The activations do not fit the limit or the disk.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        activations: Activations,
        recipe: PretrainRecipe,
        seed: int,
    ) -> None:
        plans = activations.plans(recipe)
        wide = {"count": recipe.crops, "area": recipe.large_area}
        narrow = {"count": max(recipe.crops, recipe.small_crops), "area": recipe.small_area}
        self._stores: list[PrefixStore] = []
        for what, plan, crops in (("large", plans[0], wide), ("small", plans[1], narrow)):
            if what == "small" and not recipe.small_crops:
                break
            chosen = cropped_samples(samples, activations.contents, seed=seed, **crops)  # type: ignore[arg-type]
            told = f"blocks 1 to {plan.end} of the backbone, {what} crops"
            self._stores.append(activations.open(chosen, plan, told, plans))
        self._rows = [_rows_of(store) for store in self._stores]
        known = set.intersection(*(set(rows) for rows in self._rows))
        self.images = tuple(one.id for one in samples if one.id in known)
        lost = {skip.id: skip for store in self._stores for skip in store.skipped}
        self.skipped: tuple[Skipped, ...] = tuple(lost.values())
        self._small_crops = recipe.small_crops
        self.large = self._stores[0].grid
        self.small = self._stores[-1].grid
        if len(self.images) < 2:
            raise DataError(
                "fewer than two images can be read",
                whose=samples[0].id,
                fix="give more images; some hundreds are few",
                code="data/too-few",
            )

    def __len__(self) -> int:
        return len(self.images)

    def draw(
        self, places: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws crops and views of some images.

        Args:
            places: (B,) positions in `images`.
            generator: Draws them.

        Returns:
            (B, V + S) rows of the stores, large crops first, and (B, V + S) views.
        """
        columns = []
        for rows, count in zip(self._rows, (LARGE, self._small_crops), strict=False):
            drawn = [generator.permutation(rows[self.images[place]])[:count] for place in places]
            columns.append(np.stack(drawn))
        chosen = np.concatenate(columns, axis=1)
        return chosen, generator.integers(self._stores[0].views, size=chosen.shape)

    def read(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """The tokens of drawn crops.

        Args:
            rows: As `draw` gives them, of some images.
            views: The same.

        Returns:
            (V * R, N, D) float32 of the large crops, the first of all images before the second of
            all, and the same of the small ones; None if there are none.
        """
        parts: list[Tensor] = []
        for store, columns in zip(
            self._stores, (slice(0, LARGE), slice(LARGE, None)), strict=False
        ):
            parts.append(store.read(rows[:, columns].T.ravel(), views[:, columns].T.ravel())[0])
        return parts[0].float(), parts[1].float() if len(parts) > 1 else None


def _rows_of(store: PrefixStore) -> dict[str, np.ndarray]:
    """The rows of each image's crops, by its id."""
    found: dict[str, list[int]] = {}
    for row, sample in enumerate(store.samples):
        found.setdefault(sample.id, []).append(row)
    return {name: np.asarray(rows) for name, rows in found.items()}
