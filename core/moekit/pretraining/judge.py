"""Judges features during a training: on stored images, with their labels if there are any.

Shapes: N images, D width, P patches, T frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from moekit.data.samples import UNSEEN, Dataset, Sample
from moekit.moe.specialists import Grid
from moekit.pretraining.collapse import effective_rank
from moekit.pretraining.probe import judged, linear_probe, neighbours
from moekit.training.prefix import PrefixStore

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Inputs of whole images to class tokens (N, D) and patches (N * T, P, D)."""
_BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """Says how good features are.

    Attributes:
        train: Inputs of images of the training split, in batches.
        other: Those of the validation split; empty if there are no labels to compare.
        labels: Of both; empty without labels.
        grid: The patches of a whole image.
    """

    train: Callable[[], Iterator[Tensor]]
    other: Callable[[], Iterator[Tensor]]
    labels: tuple[np.ndarray, np.ndarray] | None
    grid: Grid

    def __call__(self, encode: Encode) -> dict[str, float]:
        """Figures of features, all floats.

        Args:
            encode: Computes them.

        Returns:
            `rank`; with labels also `probe` and `neighbours`: AUROC of two classes, else accuracy,
            on the validation split.
        """
        class_ND, read_ND = features(self.train(), encode, self.grid)
        found = {"rank": effective_rank(torch.from_numpy(class_ND))}
        if self.labels is None:
            return found
        _, other_QD = features(self.other(), encode, self.grid)
        given, asked = self.labels
        found["probe"] = judged(linear_probe(read_ND, given, other_QD), asked)
        found["neighbours"] = judged(neighbours(read_ND, given, other_QD), asked)
        return found


def worse_in_words(curves: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
    """A sentence if the probe ended below the one of the features at the start; else none.

    Args:
        curves: The figures of each judgement; the first is of the features at the start.
    """
    first, last = curves[0].get("probe"), curves[-1].get("probe")
    if first is None or last is None or last >= first:
        return ()
    return (
        f"the linear probe on validation data fell from {first:.4f} to {last:.4f}: the features "
        "are worse than at the start, so do not begin with them; try a lower --rate, more --epochs "
        "or the other --objective",
    )


def features(
    batches: Iterator[Tensor], encode: Encode, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) class tokens, and (N, 2 D) these next to the mean of the patches."""
    classes, means = [], []
    for inputs in batches:
        class_ND, patch_RPD = encode(inputs)
        mean_RD = patch_RPD.float().mean(1)
        classes.append(class_ND.float().cpu())
        means.append(torch.unflatten(mean_RD, 0, (-1, grid.frames)).mean(1).cpu())
    class_ND, mean_ND = torch.cat(classes), torch.cat(means)
    return class_ND.numpy(), torch.cat([class_ND, mean_ND], dim=1).numpy()


def judge_of(train: PrefixStore, other: PrefixStore | None) -> Judge:
    """Judges features on stored whole images.

    Args:
        train: Of the training split.
        other: Of the validation split, if labels are compared.
    """
    labels = None
    if other is not None:
        labels = (_labels(train.samples), _labels(other.samples))
    return Judge(
        train=lambda: _stored(train),
        other=lambda: _stored(other),
        labels=labels,
        grid=train.grid,
    )


def judged_samples(dataset: Dataset, most: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """The images that features are judged on, evenly spread over each split.

    Returns:
        Of the training and the validation split; the second is empty unless both have labels of
        two classes at least, the validation split none that training lacks.
    """
    splits = {
        name: [one for one in dataset.samples if one.split == name] for name in ("train", "val")
    }
    train = _spread(splits["train"], most)
    other = _spread([one for one in splits["val"] if one.label != UNSEEN], most)
    known = {one.label for one in train}
    comparable = len(known) > 1 and len({one.label for one in other}) > 1
    single = all(one.labels is None for one in (*train, *other))
    if not (comparable and single and {one.label for one in other} <= known):
        return train, ()
    return train, other


def _spread(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    count = min(len(samples), most)
    return tuple(samples[place * len(samples) // count] for place in range(count))


def _labels(samples: Sequence[Sample]) -> np.ndarray:
    return np.asarray([one.label for one in samples])


def _stored(store: PrefixStore | None) -> Iterator[Tensor]:
    if store is None:
        return
    for start in range(0, len(store), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(store)))
        yield store.read(rows, np.zeros_like(rows))[0]
