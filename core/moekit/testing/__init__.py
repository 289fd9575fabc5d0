"""The conformance kit: does a plugin keep the contract?

Three ways in:

- the command `moekit plugins check NAME`;
- `parametrize_with_checks(NAME)` over a test that takes `check` and calls `check.run()`;
- `checks_of(NAME)`, an iterator of checks for everything else.

The checks are those of one list, each with a name. They run on synthetic inputs that are made from
what the plugin's manifest declares, on a small backbone of random weights. A plugin's own tests can
ask by `refused(CODE)` which error it was.
"""

from __future__ import annotations

from moekit.testing.apart import run_checks_apart
from moekit.testing.check import Check
from moekit.testing.pytest_front import parametrize_with_checks
from moekit.testing.refusals import refused
from moekit.testing.report import Outcome, Report, run_checks
from moekit.testing.suite import checks_of, expected_number
from moekit.testing.verdicts import ConformanceError, NotApplicable

__all__ = [
    "Check",
    "ConformanceError",
    "NotApplicable",
    "Outcome",
    "Report",
    "checks_of",
    "expected_number",
    "parametrize_with_checks",
    "refused",
    "run_checks",
    "run_checks_apart",
]
