"""Running all checks in a process of their own, so that a plugin cannot end or hang this one.

The process is called as `python -m moekit.testing.apart DISTRIBUTION ENTRY EXPECTED`; it writes an
empty line when it has imported the checks, then one JSON line an outcome, to its standard output.
What the plugin prints goes nowhere.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, cast

from moekit.plugins.discovery import Plugin, discover
from moekit.testing.check import Check
from moekit.testing.child import child_command, child_environment, lines_of
from moekit.testing.report import Outcome, Report, check_expectations, run_checks
from moekit.testing.subject import find_plugin
from moekit.testing.suite import checks_of, expected_number

DEADLINE_SECONDS = 300


def run_checks_apart(
    plugin: str | Plugin,
    *,
    expected_failures: Mapping[str, str] | None = None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    deadline: float = DEADLINE_SECONDS,
) -> Report:
    """Like `run_checks`, in a process of its own.

    A check at which the process ends, or that takes longer than the deadline, failed; those after
    it did not run.

    Args:
        plugin: An installed plugin, or its distribution or short name.
        expected_failures: Ids of checks that are known to fail, each with the reason.
        on_outcome: Called after each check.
        deadline: Seconds that one check may take; the start of the process is none.

    Raises:
        UsageError: No such plugin, no such check, or an expectation without a reason.
    """
    found = find_plugin(plugin) if isinstance(plugin, str) else plugin
    checks = list(checks_of(found))
    check_expectations(checks, expected_failures)
    outcomes = []
    for outcome in _outcomes(found, checks, dict(expected_failures or {}), deadline):
        outcomes.append(outcome)
        on_outcome(outcome)
    return Report(
        plugin=f"{found.distribution} {found.version}",
        expected=expected_number(found),
        outcomes=tuple(outcomes),
    )


def _outcomes(
    plugin: Plugin, checks: list[Check], expected: dict[str, str], deadline: float
) -> Iterator[Outcome]:
    arguments = [plugin.distribution, plugin.entry, json.dumps(expected, allow_nan=False)]
    with subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of our own
        child_command("-m", "moekit.testing.apart", *arguments),
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        lines = lines_of(cast(IO[str], process.stdout))
        _, why = _next(lines, process, max(deadline, DEADLINE_SECONDS))
        culprit = checks[0].id
        for one in checks:
            if not why:
                line, why = _next(lines, process, deadline)
                if line:
                    yield Outcome(**json.loads(line))
                    continue
                culprit = one.id
            yield Outcome(
                id=one.id,
                summary=one.summary,
                verdict="failed" if one.id == culprit else "not run",
                reason=why if one.id == culprit else f"{culprit}: {why}",
                seconds=0.0,
            )


def _next(
    lines: queue.Queue[str], process: subprocess.Popen[str], deadline: float
) -> tuple[str, str]:
    """The next line, or an empty one and why there is none."""
    try:
        line = lines.get(timeout=deadline)
    except queue.Empty:
        process.kill()
        return "", f"it did not end within {deadline:g} s"
    return line, "" if line else f"it ended its process with code {process.wait()}"


def main(distribution: str, entry: str, expected: str) -> None:
    """Runs the checks and writes their outcomes."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    (plugin,) = [
        found for found in discover() if (found.distribution, found.entry) == (distribution, entry)
    ]

    def write(line: str) -> None:
        answer.write(f"{line}\n")
        answer.flush()

    def tell(outcome: Outcome) -> None:
        write(json.dumps(dataclasses.asdict(outcome), allow_nan=False))

    write("")
    run_checks(plugin, expected_failures=json.loads(expected), on_outcome=tell)


if __name__ == "__main__":
    main(*sys.argv[1:4])
