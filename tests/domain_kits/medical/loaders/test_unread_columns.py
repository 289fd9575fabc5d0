"""Columns of labels.csv that a loader does not read are named in a note."""

import pytest
from loader_tables import edit_table

from moekit_medical.loaders.candidates import CANDIDATES
from moekit_medical.loaders.nifti import NIFTI
from moekit_medical.loaders.series import DICOM


@pytest.mark.parametrize("spec", [CANDIDATES, DICOM, NIFTI], ids=lambda spec: spec.name)
def test_only_columns_that_are_not_read_are_named(spec, tmp_path):
    folder = spec.example(tmp_path)
    assert spec.load(folder, 0).notes == ()
    edit_table(folder, lambda lines: [f"{lines[0]},reader", *(f"{line},9" for line in lines[1:])])
    assert spec.load(folder, 0).notes == ("columns of the table that are not read: reader",)
