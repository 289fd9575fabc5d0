"""Scores that a peer gave, as a CSV of probabilities.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.data.samples import Sample
from moekit.tasks.parts.peer_table import PeerTable
from moekit.tasks.score.predictions import Predictions


def read_scores(path: Path, samples: Sequence[Sample], context: TaskContext) -> Predictions:
    """A tally of a peer's scores.

    Args:
        path: A CSV file with the columns id and score, the probability of the positive class; or a
            folder with `predictions.csv`. Each sample has just one line.
        samples: (N) of the split, in order.
        context: Is not asked.

    Raises:
        DataError: The file cannot be read, an id is missing, unknown or there twice, or a score is
            no number from 0 to 1.
    """
    del context
    table = PeerTable(path, columns="id,score")
    if table.header != ["score"]:
        raise table.fault(1, "the columns are not id and score", code="data/bad-header")
    scores_N = np.zeros(len(samples))
    for line, place, cells in table.rows(samples):
        scores_N[place] = table.shares(line, cells)[0]
    return Predictions.of(samples, scores_N)
