"""What the pictures of a kit look like to the frozen trunk: one Gaussian, with a limit.

A picture is scored by its Mahalanobis distance to the mean of the training pictures' features (Lee
et al. 2018, arXiv:1807.03888, with one class), under their covariance shrunk towards a multiple of
the identity (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4): there are often fewer
pictures than features. The distance is divided by the one that a given share of the validation
pictures exceeds, so that kits can be compared: a picture is of the kit that it is nearest to, and
of none if it is beyond 1 from all. What a kit says does not depend on the kits next to it.

Shapes: N pictures, C cells, F features (D, the width of a token), R directions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from moekit.runs.domain import read_domain
from moekit.runs.run import Run
from moekit.runs.schema import damaged

FALSE_REFUSALS = 0.05
"""Share of a kit's own validation pictures that lie beyond its limit."""
_LEAST_SPREAD = 1e-12
_FAR = 1e9
"""The distance of what has none, such as of features that are not finite."""
LEAST = 4
"""Fewer training or validation pictures than these say nothing of a domain."""


def features_of(cells_NCD: np.ndarray) -> np.ndarray:
    """(N, F) float64 features of pictures: the mean of their patches.

    Args:
        cells_NCD: What the frozen blocks say of them, see `moekit.runtime.cells.cells_of`.
    """
    mean: np.ndarray = cells_NCD.astype(np.float64).mean(1)
    return mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """The Gaussian of a kit's pictures.

    Attributes:
        block: Number of blocks of the trunk after which features are read.
        mean_F: Their mean.
        basis_FR: Directions, divided by the spread along them.
        rest: What the squared distance along all other directions is divided by.
        limit: The distance that `FALSE_REFUSALS` of the validation pictures exceed.
        train: Pictures that the mean and the covariance are from.
        val: Pictures that the limit is from.
    """

    block: int
    mean_F: np.ndarray
    basis_FR: np.ndarray
    rest: float
    limit: float
    train: int
    val: int

    @classmethod
    def fit(cls, train_NF: np.ndarray, val_NF: np.ndarray, *, block: int) -> Domain:
        """The Gaussian of some features, and the limit by others.

        Args:
            train_NF: Features of training pictures, `LEAST` of them at least.
            val_NF: Of validation pictures, `LEAST` at least.
            block: Number of blocks after which they were read.
        """
        mean = train_NF.mean(0)
        centred = train_NF - mean
        share = shrinkage(centred)
        total, width = float((centred**2).sum() / len(centred)), centred.shape[1]
        floor = max(share * total / width, _LEAST_SPREAD)
        _, spread, directions = np.linalg.svd(centred, full_matrices=False)
        variance = (1 - share) * spread**2 / len(centred) + floor
        kept = spread > spread.max(initial=0.0) * 1e-6
        bare = cls(
            block=block,
            mean_F=mean.astype(np.float32),
            basis_FR=(directions[kept].T / np.sqrt(variance[kept])).astype(np.float32),
            rest=floor,
            limit=1.0,
            train=len(train_NF),
            val=len(val_NF),
        )
        limit = quantile(bare.scores(val_NF), 1 - FALSE_REFUSALS)
        return dataclasses.replace(bare, limit=max(limit, _LEAST_SPREAD))

    def scores(self, features_NF: np.ndarray) -> np.ndarray:
        """(N,) float64 distances as multiples of the limit: at most 1 is of this kit."""
        centred = features_NF - self.mean_F.astype(np.float64)
        basis = self.basis_FR.astype(np.float64)
        lengths = np.sqrt((basis**2).sum(0))
        along = centred @ (basis / lengths)
        outside = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0.0)
        squared = ((along * lengths) ** 2).sum(1) + outside / self.rest
        scores: np.ndarray = np.sqrt(squared) / self.limit
        return scores

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What a run keeps in a file."""
        return {
            "mean_F": self.mean_F,
            "basis_FR": self.basis_FR,
            "rest": np.array([self.rest], dtype=np.float64),
        }

    @classmethod
    def of_run(cls, run: Run) -> Domain | None:
        """That of a run; None if it keeps none.

        Raises:
            DataError: What it keeps is damaged.
        """
        found = read_domain(run)
        if found is None:
            return None
        known, arrays = found
        try:
            made = cls(
                block=int(known["block"]),
                mean_F=arrays["mean_F"],
                basis_FR=arrays["basis_FR"],
                rest=float(arrays["rest"][0]),
                limit=float(known["limit"]),
                train=int(known["n"]["train"]),
                val=int(known["n"]["val"]),
            )
            fits = made.basis_FR.shape[:1] == made.mean_F.shape and made.rest > 0 < made.limit
        except (LookupError, TypeError, ValueError):
            fits = False
        if not fits or not all(np.isfinite(one).all() for one in arrays.values()):
            raise damaged(run.record, "what it says of its pictures' looks is not whole")
        return made

    def as_json(self) -> dict[str, Any]:
        """What a run records of it besides its file."""
        return {
            "block": self.block,
            "limit": self.limit,
            "false_refusals": FALSE_REFUSALS,
            "n": {"train": self.train, "val": self.val},
        }


def shrinkage(centred_NF: np.ndarray) -> float:
    """The weight of the identity in a shrunk covariance, 0 to 1, after Ledoit and Wolf.

    Args:
        centred_NF: Features less their mean.
    """
    count, width = centred_NF.shape
    gram = centred_NF @ centred_NF.T / count  # has the same traces as the covariance
    trace, square = float(np.trace(gram)), float((gram**2).sum())
    apart = square - trace**2 / width
    norms = (centred_NF**2).sum(1)
    noise = float((norms**2).sum()) / count**2 - square / count
    if apart <= 0:
        return 1.0
    return float(min(1.0, max(0.0, noise / apart)))


def quantile(values_N: np.ndarray, share: float) -> float:
    """The value that a further one of the same kind is at most, in that share of all cases.

    The split-conformal quantile; of too few values the largest.
    """
    place = math.ceil((len(values_N) + 1) * share)
    return float(np.sort(values_N)[min(place, len(values_N)) - 1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Which kit a picture belongs to.

    Attributes:
        kit: Its name; None for none.
        nearest: The kit that the picture is nearest to.
        scores: By kit the picture's distance as a multiple of the kit's limit.
    """

    kit: str | None
    nearest: str
    scores: Mapping[str, float]

    @classmethod
    def of(cls, scores: Mapping[str, float]) -> Choice:
        """The nearest kit, or none if all are beyond their limits.

        Args:
            scores: One at least.
        """
        known = {name: min(one, _FAR) if one == one else _FAR for name, one in scores.items()}
        nearest = min(known, key=lambda name: known[name])
        return cls(kit=nearest if known[nearest] <= 1 else None, nearest=nearest, scores=known)

    @property
    def score(self) -> float:
        """The distance to the nearest kit, as a multiple of its limit."""
        return self.scores[self.nearest]
