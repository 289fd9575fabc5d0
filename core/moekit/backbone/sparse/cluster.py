"""Neurons into experts of equal size.

Shapes: F neurons, E experts, P features of a neuron.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def balanced_clusters(
    points_FP: Tensor, *, clusters: int, rounds: int = 12, seed: int = 0
) -> Tensor:
    """Spherical k-means in which every cluster takes the same number of points.

    Each round assigns the points by the linear assignment problem, in which a cluster stands for
    F / E places, as balanced k-means does (Malinen and Franti 2014, "Balanced K-Means for
    Clustering"); MoEfication uses it for neurons (Zhang et al. 2022, arXiv:2110.01786).

    Args:
        points_FP: (F, P) float; their lengths do not count.
        clusters: E; must divide F.
        rounds: Most rounds; it ends earlier when nothing moves.
        seed: Of the first centres.

    Returns:
        (F,) int64 in [0, E).
    """
    points_FP = nn.functional.normalize(points_FP.float(), dim=1)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randperm(len(points_FP), generator=generator)[:clusters]
    centres_EP = points_FP[first.to(points_FP.device)]
    cluster_F = balanced_assignment(points_FP @ centres_EP.T)
    for _ in range(rounds):
        sums_EP = points_FP.new_zeros(centres_EP.shape).index_add(0, cluster_F, points_FP)
        before_F = cluster_F
        cluster_F = balanced_assignment(points_FP @ nn.functional.normalize(sums_EP, dim=1).T)
        if torch.equal(before_F, cluster_F):
            break
    return cluster_F


def balanced_assignment(affinity_FE: Tensor) -> Tensor:
    """Gives each of F points one of E clusters, F / E points each, with the greatest sum.

    Args:
        affinity_FE: (F, E) float.

    Returns:
        (F,) int64 in [0, E), on the device of `affinity_FE`.
    """
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    points, clusters = affinity_FE.shape
    places = points // clusters
    wide_FF = affinity_FE.double().cpu().repeat_interleave(places, dim=1).numpy()
    _, place_F = linear_sum_assignment(wide_FF, maximize=True)
    return torch.from_numpy(place_F // places).to(affinity_FE.device)


def order_of(cluster_F: Tensor) -> Tensor:
    """(F,) the points in the order of their clusters, those of one cluster in their own order."""
    return torch.argsort(cluster_F, stable=True)
