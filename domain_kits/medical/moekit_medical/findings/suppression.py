"""One candidate for each place: greedy non-maximum suppression by distance.

As in Neubeck and Van Gool 2006 (ICPR), with the distance of centres in mm in place of an overlap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from moekit import UsageError
from moekit_medical.findings.record import Finding, in_order


def suppress(findings: Iterable[Finding], *, distance_mm: float) -> tuple[Finding, ...]:
    """Keeps the best findings, none closer to a better one than a distance.

    The best finding is kept and those closer to it than `distance_mm` are dropped, and so on. A
    dropped finding drops nothing. Of equal scores the one whose place comes first in (x, y, z) is
    the better, so the order of the input has no influence.

    Args:
        findings: Candidates.
        distance_mm: Two findings at exactly this distance are both kept; 0 keeps all.

    Returns:
        The findings that are kept, by descending score.

    Raises:
        UsageError: The distance is negative or not a finite number.
    """
    if not math.isfinite(distance_mm) or distance_mm < 0:
        raise UsageError(
            f"the distance of findings is {distance_mm}",
            whose="distance_mm",
            fix="give a distance of 0 mm or more",
            code="usage/out-of-range",
        )
    ordered = in_order(findings)
    place_N3 = np.array([finding.centre_mm for finding in ordered], dtype=np.float64).reshape(-1, 3)
    open_N = np.ones(len(ordered), dtype=bool)
    kept = []
    for index, finding in enumerate(ordered):
        if open_N[index]:
            kept.append(finding)
            open_N &= np.linalg.norm(place_N3 - place_N3[index], axis=1) >= distance_mm
    return tuple(kept)
