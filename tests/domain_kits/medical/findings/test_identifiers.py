"""UIDs that follow from content."""

import uuid

from pydicom.uid import UID

from moekit_medical.findings.identifiers import derive_uid


def test_a_uid_is_valid_and_is_a_uuid():
    for number in range(200):
        uid = derive_uid("x", str(number))
        assert UID(uid).is_valid
        assert uuid.UUID(int=int(uid.removeprefix("2.25."))).version == 5


def test_the_same_parts_have_the_same_uid_and_others_another():
    assert derive_uid("ab", "c") == derive_uid("ab", b"c")
    assert (
        len({derive_uid(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"))})
        == 4
    )
