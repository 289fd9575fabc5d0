"""A second call with other inputs leaves nothing of the first one next to its own results."""

import json

import numpy as np

from moekit_medical.inference.earlier import remove_series, series_of
from moekit_medical.inference.inputs import Series
from moekit_medical.volume import Volume


def volume(**changes):
    given = {
        "hu_DHW": np.zeros((2, 3, 4), np.float32),
        "affine": np.eye(4),
        "series_uid": "1.2",
        "study_uid": "1",
        "frame_of_reference_uid": None,
        "sop_uids": ("1", "2"),
    }
    return Volume(**{**given, **changes})


def test_a_series_is_known_by_its_voxels_and_places_not_by_its_uid():
    def content(**changes):
        return Series(name="abc", volume=volume(**changes), files=()).content

    other = np.zeros((2, 3, 4), np.float32)
    other[1, 2, 3] = 1
    assert content() == content(series_uid="9.9", sop_uids=("3", "4"))
    found = [content(), content(hu_DHW=other), content(affine=np.diag([2.0, 1, 1, 1]))]
    found.append(content(hu_DHW=np.zeros((3, 2, 4), np.float32)))
    assert len(set(found)) == 4


def test_series_of_an_earlier_call_are_removed_and_nothing_else(tmp_path):
    names = ["0123456789ab", "ba9876543210-2", "../elsewhere", "notes"]
    record = tmp_path / "out" / "series.json"
    for name in names:
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "findings.json").write_text("old")
    record.write_text(json.dumps({"series": [{"series": name} for name in names]}))
    earlier = series_of(record)
    assert earlier == set(names[:2])
    assert remove_series(tmp_path / "out", earlier) == {"removed of earlier inputs": 2}
    assert not any((tmp_path / "out" / name).exists() for name in earlier)
    assert all((tmp_path / "out" / name / "findings.json").exists() for name in names[2:])
    assert remove_series(tmp_path / "out", earlier) == {}


def test_a_record_that_is_missing_or_damaged_names_no_series(tmp_path):
    assert series_of(tmp_path / "none.json") == set()
    (tmp_path / "series.json").write_text('{"series": 3}')
    assert series_of(tmp_path / "series.json") == set()
