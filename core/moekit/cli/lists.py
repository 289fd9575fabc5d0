"""`moekit kits`, `datasets`, `metrics`, `experts`, `gates`: what is installed and usable."""

from __future__ import annotations

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table, say
from moekit.contract.record_kinds import RECORD_KINDS
from moekit.errors import MoekitError
from moekit.plugins.discovery import State
from moekit.plugins.registry import Kind, Registry

_list_options = with_options(
    click.option(
        "--long",
        "summaries",
        is_flag=True,
        help="Show what each is for too; its plugin is imported for that.",
    ),
    json_option,
    debug_option,
)


def _list_command(*kinds: Kind) -> click.Command:
    @click.command(name=kinds[0], help=RECORD_KINDS[kinds[0]].lists)
    @_list_options
    def command(summaries: bool, as_json: bool) -> None:
        _show(*kinds, summaries=summaries, as_json=as_json)

    return command


_TOGETHER = {"metrics": ("metrics", "map_metrics"), "gates": ("gates", "token_gates")}
COMMANDS = {
    kind: _list_command(*_TOGETHER.get(kind, (kind,)))
    for kind, entry in RECORD_KINDS.items()
    if entry.lists and kind not in ("map_metrics", "token_gates")
}
"""A command for each kind of record that is listed."""


def __getattr__(name: str) -> click.Command:
    if name not in COMMANDS:
        raise AttributeError(name)
    return COMMANDS[name]


def _show(*kinds: Kind, summaries: bool, as_json: bool) -> None:
    registry = Registry()
    listed: dict[str, list[dict[str, str]]] = {kind: _rows(kind, registry) for kind in kinds}
    if summaries:
        with quick_imports():
            for kind, rows in listed.items():
                for row in rows:
                    row["summary"] = _summary(kind, row["full_name"], registry)
    if as_json:
        print_json(listed)
    else:
        columns = ("name", "full_name", *(("summary",) if summaries else ("version", "domain")))
        for kind, rows in listed.items():
            print_table(
                kind.replace("_", " ").capitalize(),
                [column.replace("_", " ") for column in columns],
                [[row[column] for column in columns] for row in rows],
            )
    for plugin in registry.plugins:
        if plugin.state not in (State.ACTIVE, State.DISABLED):
            say(f"{plugin.distribution} is {plugin.state.value}: {plugin.reason}")


def _summary(kind: Kind, name: str, registry: Registry) -> str:
    """What a record is for; of a plugin that does not work, why."""
    try:
        return str(getattr(registry.record(kind, name), "summary", ""))
    except MoekitError as error:
        return f"not usable: {error.what}"


def _rows(kind: Kind, registry: Registry) -> list[dict[str, str]]:
    return [
        {
            "name": full.partition("/")[2],
            "full_name": full,
            "version": plugin.version,
            "domain": plugin.manifest.domain if plugin.manifest else "",
        }
        for full, plugin in sorted(registry.names(kind).items())
    ]
