"""What was not scored in the reported split, so that it is counted and not dropped."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from moekit import ReportContext
from moekit_medical.loaders.facts import SCAN
from moekit_medical.report.plain import at


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """A sample of the reported split that has no score.

    Attributes:
        label: 1 for a lesion, 0 for another candidate.
        facts: Of the sample.
    """

    label: int
    facts: Mapping[str, str]


def find_failures(context: ReportContext) -> tuple[list[Failure], int]:
    """The samples of the reported split that were skipped, and how many cannot be placed.

    If the splits were made by the seed, what was skipped before has none; it is of the reported
    split if its scan is. What is of no known split or label is counted alone.
    """
    scored, skipped = context.predictions, at(context.result, "skipped")
    scans = set(scored.facts.get(SCAN, ())) - {""} if scored is not None else set()
    found, unplaced = [], 0
    for entry in skipped if isinstance(skipped, list | tuple) else ():
        label, split, facts = (at(entry, name) for name in ("label", "split", "facts"))
        known = {
            str(name): value for name, value in dict(facts or {}).items() if isinstance(value, str)
        }
        if split is None and known.get(SCAN) in scans:
            split = at(context.result, "split")
        if label not in (0, 1) or split is None:
            unplaced += 1
        elif split == at(context.result, "split"):
            found.append(Failure(label=label, facts=known))
    return found, unplaced
