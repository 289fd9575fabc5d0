"""Pixels counted over thresholds: what metrics of localisation are computed from.

Shapes: N images, R connected positive regions of all images, T thresholds, B resamples.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MapCounts:
    """How many pixels of maps reach each of a row of thresholds, by image and by positive region.

    Every pixel reaches the first threshold, so the first column holds the totals. That no pixel
    reaches anything above the last one is for a metric to add. The positive pixels of an image are
    those of its regions.

    Attributes:
        edges_T: (T,) float64, thresholds in rising order; a pixel at or above one reaches it.
        negatives_NT: (N, T) int32, negative pixels of each image that reach each threshold.
        regions_RT: (R, T) int32, pixels of each region that reach each threshold.
        image_R: (R,) int64, the image of each region: its row in `negatives_NT`.
        weights_N: (N,) float64, how often each image counts, with all of its regions: 1, or its
            multiplicity in a bootstrap sample. Sums and means over images and regions mind it, as
            those below do.
    """

    edges_T: np.ndarray
    negatives_NT: np.ndarray
    regions_RT: np.ndarray
    image_R: np.ndarray
    weights_N: np.ndarray

    @functools.cached_property
    def negatives_T(self) -> np.ndarray:
        """(T,) float64, negative pixels of all images that reach each threshold."""
        total: np.ndarray = self.weights_N @ self.negatives_NT
        return total

    @functools.cached_property
    def positives_T(self) -> np.ndarray:
        """(T,) float64, positive pixels of all images that reach each threshold."""
        total: np.ndarray = self.weights_N[self.image_R] @ self.regions_RT
        return total

    @functools.cached_property
    def overlap_T(self) -> np.ndarray:
        """(T,) float64, the share of a region that reaches each threshold, on average over regions.

        Each region counts alike, whatever its size (the per-region overlap, PRO, of Bergmann et al.
        2021, International Journal of Computer Vision 129:1038-1059). nan without a region.
        """
        weights_R = self.weights_N[self.image_R]
        covered = (weights_R / self.sizes_R) @ self.regions_RT
        return _mean(covered, weights_R.sum())

    @property
    def sizes_R(self) -> np.ndarray:
        """(R,) int32, pixels of each region."""
        sizes: np.ndarray = self.regions_RT[:, 0]
        return sizes

    def take(self, rows: np.ndarray) -> MapCounts:
        """Some of the images with their regions, in the order of `rows`, each image once."""
        place_N = np.full(len(self.weights_N), -1)
        place_N[rows] = np.arange(len(rows))
        image_R = place_N[self.image_R]
        return MapCounts(
            edges_T=self.edges_T,
            negatives_NT=self.negatives_NT[rows],
            regions_RT=self.regions_RT[image_R >= 0],
            image_R=image_R[image_R >= 0],
            weights_N=self.weights_N[rows],
        )

    def reweighted(self, weights_BN: np.ndarray) -> Iterator[MapCounts]:
        """The same counts under other weights, one after another; their sums are made together.

        Args:
            weights_BN: (B, N) float64.
        """
        weights_BR = weights_BN[:, self.image_R]
        sums = zip(
            weights_BN @ self.negatives_NT,
            weights_BR @ self.regions_RT,
            (weights_BR / self.sizes_R) @ self.regions_RT,
            weights_BR.sum(1),
            strict=True,
        )
        for weights_N, (negatives_T, positives_T, covered_T, regions) in zip(
            weights_BN, sums, strict=True
        ):
            counts = dataclasses.replace(self, weights_N=weights_N)
            # Where the cached properties keep their values.
            vars(counts).update(
                negatives_T=negatives_T,
                positives_T=positives_T,
                overlap_T=_mean(covered_T, regions),
            )
            yield counts


def _mean(total: np.ndarray, count: float) -> np.ndarray:
    """A sum as a mean, not above 1 by rounding; nan if nothing was added."""
    return np.minimum(total / count, 1.0) if count else np.full(len(total), np.nan)
