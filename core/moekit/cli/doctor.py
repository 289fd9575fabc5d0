"""`moekit doctor`: whether this machine, the weights, the cache and the plugins are fit."""

from __future__ import annotations

import dataclasses

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import debug_option, json_option, weights_option, with_options
from moekit.cli.output import echo, print_json, print_table
from moekit.errors import MoekitError


@click.command()
@with_options(weights_option, json_option, debug_option)
def doctor(weights: str, as_json: bool) -> None:
    """Check the machine, the weights, the cache and the plugins, and say what to mend.

    Plugins are not imported; `moekit plugins doctor` does that. The exit code is 1 if something
    needs mending.
    """
    with quick_imports():
        from moekit.jobs.health import examine

    found = examine(weights=weights)
    ill = [one for one in found if one.fix]
    if as_json:
        print_json({"findings": [dataclasses.asdict(one) for one in found]})
    else:
        print_table(
            "Health",
            ("check", "found", "to do"),
            [[one.check, one.found, one.fix or "nothing"] for one in found],
        )
    if ill:
        raise MoekitError(
            f"{len(ill)} findings need mending" if len(ill) > 1 else "one finding needs mending",
            whose=", ".join(one.check for one in ill),
            fix=ill[0].fix,
            code="error/findings",
        )
    if not as_json:
        echo("Everything is fit for work.")
