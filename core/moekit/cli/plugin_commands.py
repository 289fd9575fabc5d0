"""Commands that plugins add: found by their manifests, built when they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moekit.errors import DataError, MoekitError, PluginError
from moekit.plugins.commands import DeclaredCommand, declared_commands, lines_of_help
from moekit.plugins.entry_points import glance, manifests
from moekit.plugins.settings import switched_off

if TYPE_CHECKING:
    from moekit.plugins.discovery import Plugin

PASSED_ON = (
    MoekitError,
    click.ClickException,
    click.Abort,
    click.exceptions.Exit,
    KeyboardInterrupt,
    BrokenPipeError,
    EOFError,
    MemoryError,
)
"""What a plugin's command raises on purpose; whatever else it raises is the plugin's fault."""


def help_lines() -> list[tuple[str, str]]:
    """Names and summaries for `moekit --help`; no plugin is imported."""
    commands = declared_commands(glance())
    try:
        disabled = switched_off() if commands else {}
    except DataError:  # damaged settings: commands say so, help is shown all the same
        disabled = {}
    return lines_of_help(commands, disabled=disabled)


def load_command(name: str) -> tuple[click.Command, Plugin] | None:
    """The command that a short or qualified name means, and whose it is; None if nobody's.

    Raises:
        UsageError: Several plugins give a command of the short name.
        PluginError: The plugin that declares it cannot be used, or does not build it.
    """
    declared = [command for command in declared_commands(manifests()) if command.is_meant_by(name)]
    if not declared:
        return None
    # Their models take a tenth of a second, which only the commands of plugins need.
    from moekit.plugins.discovery import State
    from moekit.plugins.registry import Registry

    registry = Registry()
    meant = {(command.distribution, command.manifest.parent) for command in declared}
    plugins = [one for one in registry.plugins if (one.distribution, one.folder) in meant]
    if plugins and not any(plugin.state is State.ACTIVE for plugin in plugins):
        raise _not_usable(declared[0], plugins[0])
    plugin = registry.owner("commands", name)
    spec = registry.command(name)
    try:
        command = spec.build()
        if not isinstance(command, click.Command):
            raise TypeError(f"build() gave a {type(command).__name__}, not a click.Command")
    except PASSED_ON:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        raise fault(plugin, name, error) from error
    return command, plugin


def fault(plugin: Plugin, name: str, error: BaseException) -> PluginError:
    """The error that names the plugin in whose command something was raised."""
    said = f": {error}" if str(error) else ""
    return PluginError(
        f"the command {name} failed: {type(error).__name__}{said}",
        whose=f"{plugin.distribution} {plugin.version}",
        fix="report it to its authors; --debug adds the traceback if the command takes it",
        code="plugin/command-failed",
    )


def _not_usable(command: DeclaredCommand, plugin: Plugin) -> PluginError:
    return PluginError(
        f"the command {command.name} is not usable: its plugin is {plugin.state.value}",
        whose=f"{plugin.distribution} {plugin.version}",
        fix=plugin.reason,
        code="plugin/not-usable",
    )
