"""The other process that loads data sets: started once, and again if a loader ended it."""

import json

import pytest

from moekit import Registry
from moekit.plugins.contents import contents
from moekit.testing import ConformanceError
from moekit.testing.elsewhere import Elsewhere


@pytest.fixture
def folder(tmp_path):
    spec = Registry().dataset("folder")
    (tmp_path / "set").mkdir()
    return spec.example(tmp_path / "set")


def test_one_process_answers_all_that_it_is_asked(folder):
    other = Elsewhere()
    here = json.loads(json.dumps(contents(Registry().load_dataset(f"folder={folder}", seed=0))))
    assert other.load("moekit/folder", folder) == here
    first = other._process.pid
    assert other.load("moekit/folder", folder) == here
    assert other._process.pid == first


def test_a_loader_that_fails_is_named_and_the_next_is_asked_of_another_process(folder, tmp_path):
    other = Elsewhere()
    with pytest.raises(ConformanceError, match=r"ended with code 1 \(.*name a folder"):
        other.load("moekit/folder", tmp_path / "no such folder")
    assert other.load("moekit/folder", folder)[1]


def test_the_process_ends_with_its_owner(folder):
    other = Elsewhere()
    other.load("moekit/folder", folder)
    process = other._process
    del other
    assert process.wait(10) is not None
