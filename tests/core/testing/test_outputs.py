"""What a head returns next to what its task declares."""

import dataclasses

import pytest
import torch

from moekit import Field
from moekit.tasks.score import SCORE
from moekit.testing import ConformanceError
from moekit.testing.outputs import require_fields

TASK = dataclasses.replace(
    SCORE,
    outputs=(
        Field(name="logit_BQC", summary="-"),
        Field(name="box_BQ4", summary="-", bounds=(0.0, 1.0)),
        Field(name="kind_B", summary="-", dtype="int64", optional=True),
    ),
)
GOOD = {"logit_BQC": torch.zeros(2, 5, 3), "box_BQ4": torch.full((2, 5, 4), 0.5)}


def test_what_is_declared_is_accepted():
    require_fields(GOOD, TASK, 2)
    require_fields({**GOOD, "kind_B": torch.zeros(2, dtype=torch.int64)}, TASK, 2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"box_BQ4": torch.full((2, 5, 3), 0.5)}, "box_BQ4 with 3 entries for 4"),
        ({"box_BQ4": torch.full((2, 4), 0.5)}, "2 dimensions in place of 3"),
        ({"box_BQ4": torch.full((2, 5, 4), 1.5)}, "leaves"),
        ({"box_BQ4": torch.full((2, 5, 4), float("nan"))}, "not finite"),
        ({"logit_BQC": torch.zeros(3, 5, 3)}, "3 rows for 2"),
        ({"mask_BHW": torch.zeros(2, 4, 4)}, "declares no mask_BHW"),
    ],
)
def test_what_is_not_is_refused(changes, why):
    with pytest.raises(ConformanceError, match=why):
        require_fields({**GOOD, **changes}, TASK, 2)


def test_what_is_missing_is_refused():
    with pytest.raises(ConformanceError, match="no box_BQ4"):
        require_fields({"logit_BQC": GOOD["logit_BQC"]}, TASK, 2)
