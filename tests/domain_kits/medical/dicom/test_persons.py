"""Whom series show that share a PatientID or a study."""

import pytest

from moekit_medical.dicom.persons import Stated, find_doubts

JANE = {"PatientName": "doejane", "PatientBirthDate": "19410203", "PatientSex": "f"}


def stated(series, person, **shared):
    return Stated(series=series, shared=shared or {"PatientID": "1"}, person=person)


@pytest.mark.parametrize(
    ("other", "keyword", "is_another"),
    [
        ({**JANE, "PatientBirthDate": "19900101"}, "PatientBirthDate", True),
        ({**JANE, "PatientSex": "m"}, "PatientSex", True),
        ({"PatientName": "roejohn"}, "PatientName", True),
        ({**JANE, "PatientName": "smithjane"}, "PatientName", False),
    ],
)
def test_what_differs_makes_two_persons_or_two_names(other, keyword, is_another):
    (doubt,) = find_doubts([stated("a", JANE), stated("b", other)])
    assert (doubt.keyword, doubt.is_another) == (keyword, is_another)
    assert set(doubt.series) == {"a", "b"}
    told = doubt.in_words()
    assert "PatientID" in told
    assert keyword in told
    assert not [
        value for value in (*JANE.values(), *other.values()) if len(value) > 1 and value in told
    ]


@pytest.mark.parametrize("other", [JANE, {}, {"PatientSex": "f"}, {**JANE, "PatientSex": "o"}])
def test_what_is_missing_or_alike_is_no_doubt(other):
    assert find_doubts([stated("a", JANE), stated("b", other)]) == ()


def test_only_what_is_shared_is_compared_and_a_study_too():
    john = {"PatientName": "roejohn", "PatientBirthDate": "19900101"}
    assert find_doubts([stated("a", JANE, PatientID="1"), stated("b", john, PatientID="2")]) == ()
    assert find_doubts([stated("a", JANE, PatientID=""), stated("b", john, PatientID="")]) == ()
    assert find_doubts([stated("a", JANE), stated("a", john)]) == ()  # is refused as a series
    (doubt,) = find_doubts(
        [
            stated("a", JANE, PatientID="1", StudyInstanceUID="1.2"),
            stated("b", john, PatientID="2", StudyInstanceUID="1.2"),
        ]
    )
    assert "StudyInstanceUID" in doubt.in_words()
