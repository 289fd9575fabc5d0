"""`moekit plugins`: what is installed, in which state, and why."""

from __future__ import annotations

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table
from moekit.errors import UsageError
from moekit.plugins.discovery import Plugin, discover


@click.group()
def plugins() -> None:
    """List the installed plugins, or tell about one."""


@plugins.command("list")
@with_options(json_option, debug_option)
def list_plugins(as_json: bool) -> None:
    """List every installed plugin with its state. No plugin is imported."""
    found = discover()
    if as_json:
        print_json({"plugins": [_facts(plugin) for plugin in found]})
        return
    print_table(
        "Plugins",
        ("distribution", "version", "state", "about"),
        [
            [
                plugin.distribution,
                plugin.version,
                plugin.state.value,
                plugin.reason or (plugin.manifest.summary if plugin.manifest else ""),
            ]
            for plugin in found
        ],
    )


@plugins.command("info")
@click.argument("name")
@with_options(json_option, debug_option)
def info(name: str, as_json: bool) -> None:
    """Tell about one plugin, by its distribution or short name."""
    found = [
        plugin
        for plugin in discover()
        if name in (plugin.distribution, plugin.entry)
        or (plugin.manifest is not None and plugin.manifest.name == name)
    ]
    if not found:
        raise UsageError(
            f"no plugin has the name {name!r}", whose=name, fix="see `moekit plugins list`"
        )
    facts = [_facts(plugin) for plugin in found]
    if as_json:
        print_json({"plugins": facts})
        return
    for plugin in facts:
        print_table(
            str(plugin["distribution"]),
            ("", ""),
            [[key, _text(value)] for key, value in plugin.items()],
        )


def _facts(plugin: Plugin) -> dict[str, object]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state.value,
        "reason": plugin.reason,
        "manifest_sha256": plugin.manifest_sha256,
        "manifest": plugin.manifest.model_dump() if plugin.manifest else None,
    }


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(inner)}" for key, inner in value.items() if inner)
    if isinstance(value, list | tuple):
        return ", ".join(_text(inner) for inner in value)
    return str(value)
