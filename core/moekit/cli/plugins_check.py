"""`moekit plugins check`: does a plugin keep the contract?"""

from __future__ import annotations

import dataclasses

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import echo, print_json, say, still_at
from moekit.errors import PluginError, UsageError
from moekit.text import many


@click.command()
@click.argument("name")
@with_options(
    click.option(
        "--expect-failure",
        "expected",
        multiple=True,
        metavar="CHECK=REASON",
        help="A check that is known to fail; it is a failure if it passes all the same.",
    ),
    json_option,
    debug_option,
)
def check(name: str, expected: tuple[str, ...], as_json: bool) -> None:
    """Check whether an installed plugin keeps the contract."""
    from moekit.jobs.session import quiet_libraries
    from moekit.testing import Outcome, run_checks_apart

    quiet_libraries()

    told: set[str] = set()

    def tell(outcome: Outcome) -> None:
        if not as_json:
            again = outcome.verdict == "not run" and outcome.reason in told
            reason = f": {'as above' if again else outcome.reason}" if outcome.reason else ""
            told.add(outcome.reason)
            echo(f"{outcome.verdict:16} {outcome.id}{reason}")

    say(f"checking {name} in a process of its own, which takes a while to start")
    with still_at(f"checking {name}"):
        report = run_checks_apart(name, expected_failures=_expectations(expected), on_outcome=tell)
    count = {
        verdict: sum(outcome.verdict == verdict for outcome in report.outcomes)
        for verdict in ("passed", "failed", "not applicable", "expected failure", "not run")
    }
    if as_json:
        print_json(
            {
                "plugin": report.plugin,
                "expected": report.expected,
                "ran": report.ran,
                "conforms": report.conforms,
                "counts": count,
                "outcomes": [dataclasses.asdict(outcome) for outcome in report.outcomes],
            }
        )
    else:
        parts = ", ".join(f"{number} {verdict}" for verdict, number in count.items() if number)
        say(f"{report.plugin}: {report.ran} of {report.expected} checks ran ({parts})")
    if not report.conforms:
        ids = [outcome.id for outcome in report.failures]
        raise PluginError(
            f"the plugin does not conform: {many(len(ids), 'check', 'checks')} failed"
            f"{' (' + ', '.join(ids[:5]) + ')' if ids else ''}, "
            f"{report.expected - report.ran} did not run",
            whose=report.plugin,
            fix="mend what the lines above name and check again",
            code="plugin/does-not-conform",
        )


def _expectations(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for identity, _, reason in pairs:
        if not reason:
            raise UsageError(
                "an expected failure needs a reason",
                whose=f"--expect-failure {identity}",
                fix="write --expect-failure CHECK=REASON",
                code="usage/no-reason",
            )
    return {identity: reason for identity, _, reason in pairs}
