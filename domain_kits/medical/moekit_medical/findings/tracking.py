"""What names one finding in all DICOM objects made of it (PS3.3 C.8.20.4, PS3.16 TID 1500).

A segment and a measurement group of one finding have the same tracking identifier and the same
tracking UID, so that a reader can put them together.
"""

from __future__ import annotations

from moekit_medical.findings.identifiers import derive_uid
from moekit_medical.findings.record import Finding
from moekit_medical.findings.sources import Sources


def tracking_id(number: int, kind: str) -> str:
    """The name of a finding by its rank, from 1 for the best."""
    return f"{kind} {number}"


def tracking_uid(finding: Finding, number: int, sources: Sources, *, kind: str) -> str:
    """The UID of a finding, which follows from its content and from the slices."""
    return derive_uid("finding", str(number), kind, *sources.key(), content_of(finding, sources))


def content_of(finding: Finding, sources: Sources) -> str:
    """All numbers of a finding and the slice that it lies on, as text."""
    numbers = (finding.score, *finding.centre_mm, *finding.centre_index, finding.size_mm)
    shown = sources.by_sop_uid[finding.sop_uid].SOPInstanceUID
    return " ".join([*(repr(float(number)) for number in numbers), str(shown)])
