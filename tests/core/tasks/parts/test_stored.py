"""Arrays of tallies on disk."""

import numpy as np
import pytest

from moekit.tasks.parts import AboutTallies, load_arrays, names_at, optional_names, save_arrays
from moekit.testing.refusals import refused

ABOUT = {"version": 1, "models": 1, "ids": ["a"], "classes": [], "groups": None, "subtypes": None}


def made(said, arrays):
    about = AboutTallies.model_validate(said)
    return about.names(about.groups), arrays["count_N.0"]


def stored(folder, **changes):
    save_arrays(folder / "x.npz", {**ABOUT, **changes}, {"count_N.0": np.arange(3)})
    return load_arrays(folder / "x.npz", made, what="the counts")


def test_arrays_and_what_is_said_of_them_come_back(tmp_path):
    groups, count_N = stored(tmp_path, groups=["g"])
    assert groups == ("g",)
    assert count_N.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"models": "1"}, {"groups": ["g", "h"]}, {"ids": 3}]
)
def test_what_is_said_must_fit(tmp_path, changes):
    with refused("data/damaged-run", match="the counts cannot be read"):
        stored(tmp_path, **changes)


def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path):
    stored(tmp_path)
    path = tmp_path / "x.npz"
    path.write_bytes(path.read_bytes()[:-9])
    with refused("data/damaged-run") as failure:
        load_arrays(path, made, what="the counts")
    assert failure.value.whose == str(path)


def test_names_are_taken_by_position_and_are_none_if_all_are_empty():
    assert names_at(("a", "b"), [1, 1]) == ("b", "b")
    assert names_at(None, [1]) is None
    assert (optional_names(["", "a"]), optional_names(["", ""])) == (("", "a"), None)
