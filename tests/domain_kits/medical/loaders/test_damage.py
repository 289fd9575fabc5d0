"""Damage of every kind: each loader reads on or fails in three lines that name nobody.

The tests of each loader say which damage leads to which words; these say that none leads elsewhere.
"""

import contextlib
import os
import shutil

import numpy as np
import pytest
from loader_tables import SECRET

from moekit import Dataset
from moekit.errors import DataError, MoekitError
from moekit_medical.loaders import DATASETS

SEED = 0
CELLS = (
    *("", " ", "nan", "NaN", "inf", "-1", "1e400", "2", "0.5", "yes", "\u0664", "\U0001f9e0"),
    *("/etc/passwd", "../../../../etc/passwd", "..\\..\\secret", "C:/secret", "labels.csv", "."),
    *("a\0b", "<script>", "=cmd()", '"', "'", "x" * 70_000, "https://localhost/a.png"),
)
"""What a cell may hold in place of what it should."""

LINES = ('"', ",,,,,,,,,,,", "\0", "\r", "a", "=1+1,<b>,nan,nan,nan")
"""Lines at the end of a table."""

own = [spec for spec in DATASETS if spec.takes_path != "refused"]
tables = [spec for spec in own if spec.name != "medmnist"]
names = pytest.mark.parametrize("spec", tables, ids=[spec.name for spec in tables])
loaders = pytest.mark.parametrize("spec", own, ids=[spec.name for spec in own])


@pytest.fixture
def made(spec, tmp_path):
    """The loader's own example in a folder with a name in it, and what a loader is handed."""
    folder = tmp_path / SECRET
    folder.mkdir()
    return folder, spec.example(folder)


def load(spec, path):
    """The data set, or the error: foreseen, in three lines, without the name and the folder."""
    try:
        dataset = spec.load(path, SEED)
    except MoekitError as error:
        told = error
    else:
        assert isinstance(dataset, Dataset)
        assert_names_nobody(dataset)
        return dataset
    lines = str(told).split("\n")
    assert [line.split(":")[0] for line in lines[1:]] == ["  where", "  to do"], lines
    assert all(lines)
    assert SECRET not in str(told)
    return told


def assert_names_nobody(dataset):
    spoken = [*(skip.id + skip.reason for skip in dataset.skipped), dataset.source, dataset.name]
    spoken += [f"{sample.id} {sample.group}" for sample in dataset.samples]
    assert SECRET not in "".join(spoken)


def rows_of(folder):
    lines = (folder / "labels.csv").read_text(encoding="utf-8").splitlines()
    return [line.split(",") for line in lines]


def write_rows(folder, rows):
    text = "\n".join(",".join(row) for row in rows) + "\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")


@names
def test_the_example_is_sound(spec, made):
    assert len(load(spec, made[1]).samples) > 0


@names
def test_any_value_in_any_cell_is_taken_or_told(spec, made):
    folder, path = made
    rows = rows_of(folder)
    refused = 0
    for column in range(len(rows[0])):
        for cell in CELLS:
            changed = [list(row) for row in rows]
            changed[2][column] = cell
            write_rows(folder, changed)
            refused += isinstance(load(spec, path), MoekitError)
    assert refused > len(CELLS)


@names
def test_a_column_less_or_twice_and_a_line_of_nonsense_are_taken_or_told(spec, made):
    folder, path = made
    rows = rows_of(folder)
    for column in range(len(rows[0])):
        write_rows(folder, [row[:column] + row[column + 1 :] for row in rows])
        load(spec, path)
        write_rows(folder, [[*row, row[column]] for row in rows])
        assert isinstance(load(spec, path), DataError)
    for line in LINES:
        write_rows(folder, [*rows, [line]])
        load(spec, path)


@loaders
def test_a_cut_or_changed_file_is_taken_or_told(spec, made):
    """Each file of the example in turn is cut and has bytes changed at random."""
    folder, path = made
    random = np.random.default_rng(SEED)
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    for file in random.permutation(np.array(files, dtype=object))[:8]:
        whole = file.read_bytes()
        for _ in range(4):
            damaged = bytearray(whole[: int(random.integers(len(whole) + 1))])
            file.write_bytes(damaged)
            load(spec, path)
            damaged = bytearray(whole)
            for place in random.integers(min(len(whole), 600), size=4):
                damaged[place] = random.integers(256)
            file.write_bytes(damaged)
            load(spec, path)
        file.write_bytes(whole)


@loaders
def test_links_pipes_and_folders_in_place_of_files_are_taken_or_told(spec, made, tmp_path):
    folder, path = made
    elsewhere = tmp_path / f"{SECRET}_elsewhere"
    elsewhere.write_bytes(os.urandom(5000))
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    for file in (files[0], files[len(files) // 2], files[-1]):
        kept = tmp_path / "kept"
        shutil.move(file, kept)
        for replace in (
            lambda file=file: file.symlink_to(elsewhere),
            lambda file=file: file.symlink_to(file),
            lambda file=file: file.symlink_to(tmp_path / "nowhere"),
            lambda file=file: file.symlink_to(folder, target_is_directory=True),
            lambda file=file: os.mkfifo(file),
            file.mkdir,
        ):
            replace()
            load(spec, path)
            with contextlib.suppress(IsADirectoryError, PermissionError):
                file.unlink()
            if file.is_dir():
                file.rmdir()
        shutil.move(kept, file)
    assert not isinstance(load(spec, path), MoekitError)
