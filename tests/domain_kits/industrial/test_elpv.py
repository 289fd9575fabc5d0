"""The loader of the solar cells, on the installed package and on damaged copies of it."""

import collections
import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from moekit.testing import refused
from moekit_industrial.elpv import load_elpv

pytest.importorskip("elpv_dataset", reason="the cells come with elpv-dataset")


@pytest.fixture(scope="module")
def cells():
    return load_elpv(None, 0)


@pytest.fixture
def copy(tmp_path):
    """Sixteen cells of each probability and make, laid out as the package has them."""
    spec = importlib.util.find_spec("elpv_dataset")
    source = Path(spec.submodule_search_locations[0]) / "data"
    taken = collections.Counter()
    lines = []
    (tmp_path / "images").mkdir()
    for line in (source / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, probability, make = line.split()
        if taken[probability, make] < 16:
            taken[probability, make] += 1
            shutil.copy(source / name, tmp_path / name)
            lines.append(line)
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_all_cells_are_there_with_labels_from_their_probability(cells):
    assert len(cells.samples) == 2624
    assert cells.classes == ("functional", "defective")
    assert cells.skipped == ()
    assert collections.Counter((round(s.target, 2), s.label) for s in cells.samples) == {
        (0.0, 0): 1508,
        (0.33, 0): 295,
        (0.67, 1): 106,
        (1.0, 1): 715,
    }
    assert collections.Counter(s.subtype for s in cells.samples) == {"mono": 1074, "poly": 1550}


def test_each_probability_and_make_is_spread_60_15_25(cells):
    strata = collections.Counter((s.target, s.subtype) for s in cells.samples)
    assert len(strata) == 8
    parts = collections.Counter((s.target, s.subtype, s.split) for s in cells.samples)
    for (target, make), size in strata.items():
        for split, share in (("train", 0.60), ("val", 0.15), ("test", 0.25)):
            assert abs(parts[target, make, split] - share * size) <= 2


def test_ids_hold_no_folder_of_this_machine_and_the_files_exist(cells):
    assert cells.samples[0].id == "images/cell0001.png"
    assert all(s.id == f"images/{s.path.name}" and s.path.is_file() for s in cells.samples)


def test_a_seed_gives_the_same_splits_again_and_another_seed_others(cells):
    again, other = (load_elpv(None, seed).samples for seed in (0, 1))
    assert again == cells.samples
    assert [s.split for s in other] != [s.split for s in cells.samples]


def test_the_set_says_whose_it_is_and_that_modules_are_unknown(cells):
    assert cells.licence == "CC-BY-NC-SA-4.0"
    for words in ("Deitsch et al. 2019", "Buerhop-Lutz et al. 2018", "module"):
        assert words in cells.source
    assert all(sample.group is None for sample in cells.samples)


def test_a_copy_in_a_folder_is_read_alike(copy, cells):
    mine = {s.id: (s.label, s.target, s.subtype) for s in load_elpv(copy, 0).samples}
    theirs = {s.id: (s.label, s.target, s.subtype) for s in cells.samples}
    assert len(mine) == 128
    assert mine.items() <= theirs.items()


def test_a_missing_and_an_empty_image_are_skipped_and_counted(copy):
    lines = (copy / "labels.csv").read_text(encoding="utf-8").splitlines()
    first, second = (line.split()[0] for line in lines[:2])
    (copy / first).unlink()
    (copy / second).write_bytes(b"")
    dataset = load_elpv(copy, 0)
    assert [skip.id for skip in dataset.skipped] == [first, second]
    assert len(dataset.samples) == 126


@pytest.mark.parametrize(
    "line",
    [
        "images/cell0001.png 1.0",
        "images/cell0001.png often mono",
        "images/cell0001.png 1.5 mono",
        "images/cell0001.png nan mono",
        "../cell0001.png 1.0 mono",
        "/cell0001.png 1.0 mono",
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_with_its_number(copy, line):
    with (copy / "labels.csv").open("a", encoding="utf-8") as labels:
        labels.write(f"\n{line}\n")
    with refused("data/bad-line") as caught:
        load_elpv(copy, 0)
    assert caught.value.whose.endswith("labels.csv, line 129")


def test_a_folder_without_labels_is_refused(tmp_path):
    with refused("data/unreadable"):
        load_elpv(tmp_path, 0)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_labels_that_never_end_are_refused(tmp_path, make):
    make(tmp_path / "labels.csv")
    with refused("data/unreadable"):
        load_elpv(tmp_path, 0)


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refused("data/not-installed", match="pip install elpv-dataset"):
        load_elpv(None, 0)
