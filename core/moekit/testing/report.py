"""Running all checks of a plugin, and the report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Literal

from moekit.errors import UsageError
from moekit.plugins.discovery import Plugin
from moekit.testing.check import Check
from moekit.testing.subject import find_plugin
from moekit.testing.suite import checks_of, expected_number
from moekit.testing.verdicts import Blocked, ConformanceError, NotApplicable

Verdict = Literal["passed", "failed", "not applicable", "expected failure", "not run"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one check.

    Attributes:
        id: The check.
        summary: What must hold.
        verdict: Of an expected failure that passed the verdict is `failed`: the expectation is out
            of date.
        reason: Why it is not `passed`.
        seconds: Time that it took.
    """

    id: str
    summary: str
    verdict: Verdict
    reason: str
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What became of all checks.

    Attributes:
        plugin: Distribution and version.
        expected: How many checks the manifest calls for.
        outcomes: In the order of the list.
    """

    plugin: str
    expected: int
    outcomes: tuple[Outcome, ...]

    @property
    def ran(self) -> int:
        """How many checks ran."""
        return sum(outcome.verdict != "not run" for outcome in self.outcomes)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Those that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.verdict == "failed")

    @property
    def conforms(self) -> bool:
        """Whether as many checks ran as were expected, and none failed."""
        return self.ran == self.expected and not self.failures


def run_checks(
    plugin: str | Plugin,
    *,
    expected_failures: Mapping[str, str] | None = None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """Runs all checks of a plugin.

    Args:
        plugin: An installed plugin, or its distribution or short name.
        expected_failures: Ids of checks that are known to fail, each with the reason. One that
            passes all the same is a failure.
        on_outcome: Called after each check.

    Raises:
        UsageError: No such plugin, no such check, or an expectation without a reason.
    """
    found = find_plugin(plugin) if isinstance(plugin, str) else plugin
    checks = list(checks_of(found))
    excused = check_expectations(checks, expected_failures)
    outcomes = []
    for one in checks:
        outcomes.append(_outcome(one, excused.get(one.id)))
        on_outcome(outcomes[-1])
    return Report(
        plugin=f"{found.distribution} {found.version}",
        expected=expected_number(found),
        outcomes=tuple(outcomes),
    )


def check_expectations(
    checks: list[Check], expected_failures: Mapping[str, str] | None
) -> Mapping[str, str]:
    """The expectations, once it is sure that each names a check and a reason.

    Raises:
        UsageError: One does not.
    """
    excused = expected_failures or {}
    known = {one.id for one in checks}
    for identity, reason in excused.items():
        if identity not in known or not reason.strip():
            raise UsageError(
                "an expected failure needs the id of a check and a reason",
                whose=identity,
                fix="see the ids that `moekit plugins check NAME` prints",
                code="usage/no-reason",
            )
    return excused


def _outcome(one: Check, excuse: str | None) -> Outcome:
    began = time.perf_counter()
    verdict, reason = _verdict(one)
    if excuse is not None:
        if verdict == "failed":
            verdict, reason = "expected failure", f"{excuse} ({reason})"
        else:
            verdict, reason = "failed", f"it was expected to fail ({excuse}) and did not"
    return Outcome(
        id=one.id,
        summary=one.summary,
        verdict=verdict,
        reason=reason,
        seconds=time.perf_counter() - began,
    )


def _verdict(one: Check) -> tuple[Verdict, str]:
    try:
        one.run()
    except NotApplicable as error:
        return "not applicable", str(error)
    except Blocked as error:
        return "not run", str(error)
    except ConformanceError as error:
        return "failed", str(error)
    return "passed", ""
