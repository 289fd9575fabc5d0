"""Quick figures of an epoch that a validation split cannot tell are undefined."""

import math

import pytest
import torch

from moekit.cli.adapt import _in_words
from moekit.tasks.score.learn import figures


@pytest.mark.parametrize(("labels", "expected"), [([0, 0], None), ([1, 1], None), ([0, 1], 1.0)])
def test_an_auroc_needs_both_classes(labels, expected):
    found = figures({"logit_B": torch.tensor([0.1, 0.2])}, {"label_B": torch.tensor(labels)})
    assert math.isnan(found["auroc"]) if expected is None else found["auroc"] == expected


def test_an_undefined_figure_is_said_to_be_in_words():
    told = _in_words("kit", {"epoch": 1, "val_loss": 0.5, "val_map": math.nan, "val_top1": 0.25})
    assert told == (
        "kit epoch 1: validation loss 0.5000, validation map undefined, since the validation split "
        "cannot tell it, validation top1 0.25"
    )
