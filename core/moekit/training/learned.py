"""What an adaptation learns from: its splits, how they lie in the input, and what they are.

Data are hashed before the first image is read and compared again after the last epoch, so that a
run never mixes what they were with what they became.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from moekit.backbone.model import MoEBackbone
from moekit.contract.frames import frame_of
from moekit.contract.recipe import Recipe
from moekit.data.content import Contents
from moekit.data.fingerprint import fingerprints, refuse_changes
from moekit.data.geometry import Frame
from moekit.data.samples import Dataset, Sample
from moekit.data.sizes import typical_size
from moekit.data.windows import Tiling, cut_samples
from moekit.moe.tokens import TokenRouting
from moekit.plugins.resolve import Resolved
from moekit.runs.run import Run
from moekit.runs.seen import keep_learned
from moekit.runtime.device import Arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.parts import whole_of
from moekit.training.prefix_plan import PrefixPlan

SPLITS = ("train", "val")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
    """The splits that an adaptation learns from, as they were when it began.

    Attributes:
        dataset: Split data.
        contents: Hashes of the files.
        known: The fingerprint of each split.
    """

    dataset: Dataset
    contents: Contents
    known: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, dataset: Dataset, *, on_progress: Callable[[str, int, int], None]) -> Learned:
        """The data as they are now; all files are hashed.

        Raises:
            DataError: A split is empty.
        """
        contents = Contents()
        known = fingerprints(dataset, SPLITS, contents, on_progress=on_progress)
        return cls(dataset=dataset, contents=contents, known=known)

    def samples(self, tiling: Tiling | None) -> dict[str, Sequence[Sample]]:
        """The samples of each split, windows of large pictures."""
        return {split: cut_samples(self.dataset.split(split), tiling) for split in SPLITS}

    def keep(self, run: Run, start: object) -> dict[str, Any]:
        """Keeps in a run which images these are; returns what its record says of them.

        Args:
            run: The run.
            start: What it began with; of a run, what that learned from counts as well.
        """
        images = {
            split: {self.contents.of(one.path) for one in self.dataset.split(split)}
            for split in SPLITS
        }
        return keep_learned(run, images, earlier=[start] if isinstance(start, Run) else [])

    def check(self, run: Run) -> None:
        """Refuses data that have changed while they were learned from.

        Raises:
            DataError: They have.
        """
        now = fingerprints(self.dataset, SPLITS, self.contents)
        fix = "let nothing write to the data, then start a new run with another --out"
        refuse_changes(self.known, now, whose=str(run.folder), fix=fix)


def frame_for(recipe: Recipe, dataset: Dataset, backbone: MoEBackbone, kept: Run | None) -> Frame:
    """How pictures lie in the input; a run that is gone on with keeps its own."""
    if kept is not None:
        return kept.frame()
    typical = None
    free = recipe.image_height is recipe.image_width is None
    if recipe.fit == "letterbox" and free and recipe.tile is None:
        typical = typical_size(dataset.split("train"))
    return frame_of(recipe, backbone.patch, typical)


def tiling_for(recipe: Recipe, resolved: Resolved, frame: Frame) -> Tiling | None:
    """How large pictures are cut, if the recipe says so and the task puts windows together."""
    if recipe.tile is None:
        return None
    whole_of(resolved.task)
    return Tiling.of(frame, recipe.tile, overlap=recipe.tile_overlap, flat=recipe.tile_flat)


def plan_for(
    recipe: Recipe,
    dataset: Dataset,
    kit: KitModules,
    backbone: MoEBackbone,
    *,
    split: str | None,
    arithmetic: Arithmetic,
    frame: Frame,
    top_k: int | None,
    tokens: TokenRouting | None,
) -> PrefixPlan:
    """What is stored of samples, as the recipe says.

    Args:
        recipe: How to train.
        dataset: Says how many frames a sample has.
        kit: Says where the prefix ends.
        backbone: Computes it.
        split: Of `train` the views that are learned from are stored, else those that are scored.
        arithmetic: Arithmetic of the forward pass.
        frame: How pictures lie in the input.
        top_k: Generic experts a token has; as the backbone says if None.
        tokens: Which tokens are computed; all if None.
    """
    learned = split == "train"
    return PrefixPlan.of(
        kit,
        backbone,
        views=recipe.views if learned else recipe.scoring_views,
        arithmetic=arithmetic,
        frame=frame,
        frames=dataset.frames,
        top_k=top_k,
        order=recipe.view_order if learned else recipe.scoring_order,
        bits=recipe.bits,
        tokens=tokens,
    )
