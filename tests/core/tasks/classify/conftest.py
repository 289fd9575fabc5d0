"""Small tallies that several tests use."""

import numpy as np
import pytest

from moekit.tasks.classify.tally import ClassTally, probabilities


def make_tally(n=60, classes=4, *, seed=0, several=False, unseen=0, skill=2.0, **more):
    """A tally of random logits that lean to the truth; the last `unseen` items are of no class."""
    generator = np.random.default_rng(seed)
    truth = np.random.default_rng(99)
    logit_NC = generator.normal(size=(n, classes))
    names = tuple(f"class {place}" for place in range(classes))
    ids = tuple(f"{place:03}.png" for place in range(n))
    if several:
        labels_NC = (truth.random((n, classes)) < 0.4).astype(np.int64)
        logit_NC += skill * (labels_NC - 0.5)
        shares = probabilities(logit_NC, several=True)
        return ClassTally(
            ids=ids, classes=names, probability_NC=shares, labels_NC=labels_NC, **more
        )
    labels_N = truth.permutation(np.arange(n) % classes)
    logit_NC[np.arange(n), labels_N] += skill
    if unseen:
        labels_N[-unseen:] = -1
    return ClassTally(
        ids=ids,
        classes=names,
        probability_NC=probabilities(logit_NC, several=False),
        labels_N=labels_N,
        unlike_N=-logit_NC.max(1) + 2.0 * (labels_N == -1),
        **more,
    )


@pytest.fixture
def tally():
    return make_tally


@pytest.fixture
def rng():
    return np.random.default_rng(5)
