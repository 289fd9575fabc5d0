"""Each loader keeps the core's contract for loaders."""

import pytest

import moekit.testing.dataset_checks  # noqa: F401  # puts its checks into the list
from moekit.testing.check import CHECKS, NotApplicable
from moekit_medical.loaders import DATASETS


class OneRecord:
    """Stands for a plugin that provides one data set."""

    def __init__(self, spec):
        self.spec = spec

    def record(self, kind, name):
        assert (kind, name) == ("datasets", self.spec.name)
        return self.spec


def test_the_four_loaders_are_listed_and_all_checks_are_known():
    assert [spec.name for spec in DATASETS] == ["candidates", "medmnist", "nifti", "dicom"]
    assert len(CHECKS["dataset"]) >= 10


@pytest.mark.parametrize("spec", DATASETS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("check", sorted(CHECKS["dataset"]))
def test_a_loader_conforms(spec, check):
    try:
        CHECKS["dataset"][check](OneRecord(spec), spec.name)
    except NotApplicable:
        pytest.fail("every check applies to a loader that takes a path")
