"""How good features are, judged without a training: a linear probe, neighbours, effective rank.

Shapes: N images of one split, Q of the other, D width, C classes.
"""

from __future__ import annotations

import numpy as np

from moekit.tasks.score.metrics import auroc

_RIDGES = 10.0 ** np.arange(-4, 5)
_NEIGHBOURS = 20
_TEMPERATURE = 0.07


def linear_probe(train_ND: np.ndarray, labels_N: np.ndarray, other_QD: np.ndarray) -> np.ndarray:
    """Scores of a ridge regression from standardised features to one number a class.

    The ridge is the one with the smallest leave-one-out error on the training images, which has a
    closed form (Golub et al. 1979, Technometrics 21:215), so that no other image is asked.

    Args:
        train_ND: Features that are learned from.
        labels_N: Their classes, as integers.
        other_QD: Features that are scored.

    Returns:
        (Q, C) float64.
    """
    centre, scale = train_ND.mean(0), train_ND.std(0) + 1e-6
    x_ND = np.asarray((train_ND - centre) / scale, np.float64)
    x_QD = np.asarray((other_QD - centre) / scale, np.float64)
    goal_NC = np.eye(int(labels_N.max()) + 1)[labels_N]
    mean_C = goal_NC.mean(0)
    u, values, vt = np.linalg.svd(x_ND, full_matrices=False)
    spun = u.T @ (goal_NC - mean_C)
    best, chosen = np.inf, values * 0
    for ridge in _RIDGES * len(x_ND):
        shrink = values**2 / (values**2 + ridge)
        lever_N = (u**2 * shrink).sum(1) + 1 / len(x_ND)
        fault_NC = (goal_NC - mean_C - u @ (shrink[:, None] * spun)) / (1 - lever_N)[:, None]
        error = float(np.square(fault_NC).mean())
        if error < best:
            best, chosen = error, values / (values**2 + ridge)
    scores: np.ndarray = x_QD @ (vt.T @ (chosen[:, None] * spun)) + mean_C
    return scores


def neighbours(train_ND: np.ndarray, labels_N: np.ndarray, other_QD: np.ndarray) -> np.ndarray:
    """Scores by the labels of the nearest images, weighted as in DINO (arXiv:2104.14294).

    Args:
        train_ND: Features with known labels.
        labels_N: Their classes, as integers.
        other_QD: Features that are scored.

    Returns:
        (Q, C) float64.
    """
    near_QN = _unit(other_QD) @ _unit(train_ND).T
    count = min(_NEIGHBOURS, near_QN.shape[1])
    nearest_QK = np.argpartition(-near_QN, count - 1, axis=1)[:, :count]
    weight_QK = np.exp(np.take_along_axis(near_QN, nearest_QK, axis=1) / _TEMPERATURE)
    goal_NC = np.eye(int(labels_N.max()) + 1)[labels_N]
    scores: np.ndarray = (weight_QK[..., None] * goal_NC[nearest_QK]).sum(1)
    return scores


def judged(scores_QC: np.ndarray, labels_Q: np.ndarray) -> float:
    """AUROC of two classes, accuracy of more."""
    if scores_QC.shape[1] == 2:
        return float(auroc(scores_QC[:, 1] - scores_QC[:, 0], labels_Q))
    return float((scores_QC.argmax(1) == labels_Q).mean())


def _unit(x: np.ndarray) -> np.ndarray:
    unit: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit
