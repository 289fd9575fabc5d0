"""`moekit kits`, `datasets`, `metrics`, `experts`, `gates`: what is installed and usable."""

from __future__ import annotations

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table, say
from moekit.plugins.discovery import State
from moekit.plugins.registry import Kind, Registry

_list_options = with_options(json_option, debug_option)


@click.command()
@_list_options
def kits(as_json: bool) -> None:
    """List the installed kits."""
    _show("kits", as_json=as_json)


@click.command()
@_list_options
def datasets(as_json: bool) -> None:
    """List the installed loaders, the LOADER of --data."""
    _show("datasets", as_json=as_json)


@click.command()
@_list_options
def metrics(as_json: bool) -> None:
    """List the installed metrics, of scores and of maps."""
    _show("metrics", "map_metrics", as_json=as_json)


@click.command()
@_list_options
def experts(as_json: bool) -> None:
    """List the installed experts, the NAME of --expert."""
    _show("experts", as_json=as_json)


@click.command()
@_list_options
def gates(as_json: bool) -> None:
    """List the installed gates, the NAME of --gate."""
    _show("gates", as_json=as_json)


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
