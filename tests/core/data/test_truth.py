"""Truth that neither labels nor masks can say belongs to the data that a run knows again."""

import dataclasses

import pytest

from moekit import Dataset, Sample
from moekit.data.content import Contents
from moekit.data.fingerprint import changes, fingerprint
from moekit.data.loaded import check_dataset
from moekit.testing import refused


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"bytes")
    return Sample(id="a.png", path=path, label=0)


def known(sample):
    return {"val": fingerprint([sample], Contents())}


def test_another_truth_is_a_change_of_the_labels(sample):
    first = dataclasses.replace(sample, truth={"objects": {"box": ((1.0, 2.0, 3.0, 4.0),)}})
    same = dataclasses.replace(sample, truth={"objects": {"box": ((1.0, 2.0, 3.0, 4.0),)}})
    moved = dataclasses.replace(sample, truth={"objects": {"box": ((1.0, 2.0, 3.5, 4.0),)}})
    assert changes(known(first), known(same)) == []
    assert changes(known(first), known(moved)) == ["the labels of val"]


def test_samples_without_it_keep_the_hash_that_earlier_runs_wrote(sample):
    labels = known(sample)["val"]["labels"]
    assert labels == "5362786bdd693aa4986bb39028637895808e358df44a1dad29d3a06377910da9"


def test_a_loader_whose_truth_is_no_mapping_is_at_fault(sample):
    wrong = dataclasses.replace(sample, truth=[1, 2])
    dataset = Dataset(name="parts", samples=(wrong,), classes=("a", "b"))
    with refused("plugin/bad-dataset", match="truth that is a list"):
        check_dataset(dataset, whose="a plugin")
