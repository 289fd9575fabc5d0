"""Collapse: whether features still tell images apart, by their effective rank.

Shapes: N images, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moekit.errors import WeightsError

_EPSILON = 1e-7


def effective_rank(features_ND: Tensor) -> float:
    """RankMe: the exponential of the entropy of the singular values' shares.

    Garrido et al. 2023 (arXiv:2210.02885), equation 1. It needs no labels; features that all point
    the same way have rank 1, features that use all D directions alike have rank D.

    Args:
        features_ND: (N, D), any float type; computed in float64.

    Returns:
        1 to min(N, D).
    """
    values = torch.linalg.svdvals(features_ND.double())
    shares = values / values.sum().clamp_min(_EPSILON) + _EPSILON
    return float(torch.exp(-(shares * shares.log()).sum()))


def refuse_collapse(rank: float, best: float, least: float) -> None:
    """Stops a training whose features no longer tell images apart.

    Args:
        rank: The effective rank now.
        best: The highest one found yet, that at the start included.
        least: Least share of it.

    Raises:
        WeightsError: The rank is lower.
    """
    if rank >= least * best:
        return
    raise WeightsError(
        f"the features have collapsed: their effective rank fell from {best:.1f} to {rank:.1f}, "
        f"below {least:.0%} of it",
        whose="the pretraining",
        fix="begin again in a new folder with a lower --rate, larger batches, or the other "
        "--objective",
        code="weights/collapsed",
    )
