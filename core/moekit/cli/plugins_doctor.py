"""`moekit plugins doctor`: does everything that is installed work here?"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table, reporter
from moekit.errors import MoekitError
from moekit.plugins.discovery import Plugin, State, discover


@click.command()
@with_options(json_option, debug_option)
def doctor(as_json: bool) -> None:
    """Import each plugin in a process of its own and ask its health checks."""
    rows = _examine_all(discover())
    if as_json:
        print_json({"findings": rows})
    else:
        print_table(
            "Health",
            ("plugin", "state", "check", "finding"),
            [[row["plugin"], row["state"], row["check"], row["finding"] or "well"] for row in rows],
        )
    ill = [row for row in rows if row["finding"] and row["state"] != State.DISABLED.value]
    if ill:
        raise MoekitError(
            f"{len(ill)} findings",
            whose=", ".join(sorted({row["plugin"] for row in ill})),
            fix=ill[0]["finding"],
            code="error/findings",
        )


def _examine_all(plugins: list[Plugin]) -> list[dict[str, Any]]:
    """The rows of all plugins in their order; several plugins are examined at a time."""
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool, reporter() as progress:
        tasks = [pool.submit(_examine, plugin) for plugin in plugins]
        for done, _ in enumerate(as_completed(tasks), 1):
            progress.update("plugins", done, len(tasks))
    return [row for task in tasks for row in task.result()]


def _examine(plugin: Plugin) -> list[dict[str, Any]]:
    from moekit.testing.subject import probe

    def row(check: str, finding: str | None, state: State = plugin.state) -> dict[str, Any]:
        name = plugin.distribution
        return {"plugin": name, "state": state.value, "check": check, "finding": finding or ""}

    if plugin.state is not State.ACTIVE:
        return [row("state", plugin.reason)]
    found = probe(plugin)
    fault = found.get("error") or (f"its import {found['died']}" if "died" in found else "")
    if fault:
        return [row("activation", fault, State.BROKEN)]
    return [row("activation", None), *(row(name, said) for name, said in found["health"].items())]
