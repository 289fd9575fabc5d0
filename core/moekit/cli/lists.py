"""`moekit kits`, `datasets`, `metrics`, `experts`, `gates`: what is installed and usable."""

from __future__ import annotations

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table, say
from moekit.contract.kinds import KINDS
from moekit.plugins.discovery import State
from moekit.plugins.registry import Kind, Registry

_list_options = with_options(json_option, debug_option)


def _list_command(*kinds: Kind) -> click.Command:
    @click.command(name=kinds[0], help=KINDS[kinds[0]].lists)
    @_list_options
    def command(as_json: bool) -> None:
        _show(*kinds, as_json=as_json)

    return command


_TOGETHER = {"metrics": ("metrics", "map_metrics"), "gates": ("gates", "token_gates")}
COMMANDS = {
    kind: _list_command(*_TOGETHER.get(kind, (kind,)))
    for kind, entry in KINDS.items()
    if entry.lists and kind not in ("map_metrics", "token_gates")
}
"""A command for each kind of record that is listed."""


def __getattr__(name: str) -> click.Command:
    if name not in COMMANDS:
        raise AttributeError(name)
    return COMMANDS[name]


def _show(*kinds: Kind, as_json: bool) -> None:
    registry = Registry()
    listed: dict[str, list[dict[str, str]]] = {kind: _rows(kind, registry) for kind in kinds}
    if as_json:
        print_json(listed)
    else:
        for kind, rows in listed.items():
            print_table(
                kind.replace("_", " ").capitalize(),
                ("name", "full name", "version", "domain"),
                [[row["name"], row["full_name"], row["version"], row["domain"]] for row in rows],
            )
    for plugin in registry.plugins:
        if plugin.state not in (State.ACTIVE, State.DISABLED):
            say(f"{plugin.distribution} is {plugin.state.value}: {plugin.reason}")


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
