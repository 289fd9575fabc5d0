"""A graph in int8 must be faster than the one in float32, or be asked for all the same."""

import time

import pytest
import torch

from moekit.export.speed import check_faster
from moekit.testing import refused


def taking(seconds):
    """A graph that takes so long, and counts its calls and their images."""

    def compute(images, *, trace=None):
        del trace
        compute.batches.append(len(images))
        time.sleep(seconds)

    compute.batches = []
    return compute


def check(fp32, int8, **changes):
    told = []
    given = {"whose": "the export", "allow_slower": False, **changes}
    found = check_faster(
        torch.zeros(7, 3, 8, 8),
        fp32=taking(fp32),
        int8=taking(int8),
        on_progress=lambda *facts: told.append(facts),
        **given,
    )
    return found, told


def test_how_much_faster_it_is_is_recorded_with_its_spread():
    found, told = check(0.03, 0.01)
    assert 2 < found["ratio"] < 4
    low, high = found["ratio_quartiles"]
    assert low <= found["ratio"] <= high
    assert found["rounds"] >= 5
    assert found["batch_size"] == 4
    assert told[0] == ("timing int8", 0, 5)
    assert told[-1] == ("timing int8", 5, 5)


def test_one_that_is_not_faster_is_refused_by_its_figure_unless_it_is_allowed():
    with refused("error/int8-slower", match=r"0\.\d\d times as fast"):
        check(0.01, 0.03)
    found, _ = check(0.01, 0.03, allow_slower=True)
    assert found["ratio"] < 1


def test_both_graphs_run_in_turn_on_the_same_images():
    order = []

    def named(name):
        return lambda images: order.append((name, images.data_ptr()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moekit.export.speed._LEAST_SECONDS", 0.0)
        check_faster(
            torch.zeros(2, 3, 8, 8),
            fp32=named("fp32"),
            int8=named("int8"),
            whose="-",
            allow_slower=True,
            on_progress=lambda *_: None,
        )
    assert [name for name, _ in order] == ["fp32", "int8"] * 6
    assert len({pointer for _, pointer in order}) == 1
