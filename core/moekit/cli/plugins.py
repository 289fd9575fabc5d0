"""`moekit plugins`: what is installed, in which state and why; switching, locking, making."""

from __future__ import annotations

from pathlib import Path

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table, say
from moekit.errors import MoekitError, UsageError
from moekit.plugins.discovery import Plugin, State, discover, named
from moekit.plugins.settings import canonical, is_strict, switch
from moekit.text import many

LOCK_FILE = "moekit-plugins.json"


@click.group()
def plugins() -> None:
    """List, check, make and switch plugins."""


@plugins.command("list")
@with_options(json_option, debug_option)
def list_plugins(as_json: bool) -> None:
    """List every installed plugin with its state. No plugin is imported."""
    found = discover()
    if as_json:
        print_json({"plugins": [_facts(plugin) for plugin in found]})
    else:
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
    if is_strict():
        from moekit.plugins.registry import refuse_unusable

        for plugin in found:
            refuse_unusable(plugin)


@plugins.command("info")
@click.argument("name")
@with_options(json_option, debug_option)
def info(name: str, as_json: bool) -> None:
    """Tell about one plugin, by its distribution or short name."""
    facts = [_facts(plugin) for plugin in _named(name)]
    if as_json:
        print_json({"plugins": facts})
        return
    for plugin in facts:
        print_table(
            str(plugin["distribution"]),
            ("", ""),
            [[key, _text(value)] for key, value in plugin.items()],
        )


@plugins.command("enable")
@click.argument("name")
@with_options(debug_option)
def enable(name: str) -> None:
    """Switch a plugin on that `disable` switched off."""
    _switch(name, on=True)


@plugins.command("disable")
@click.argument("name")
@with_options(debug_option)
def disable(name: str) -> None:
    """Switch a plugin off for every command of this user."""
    _switch(name, on=False)


@plugins.command("lock")
@with_options(
    click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        default=LOCK_FILE,
        show_default=True,
        help="The file to write.",
    ),
    json_option,
    debug_option,
)
def lock_plugins(out: Path, as_json: bool) -> None:
    """Write down versions and hashes of the active plugins."""
    from moekit.files import write_json
    from moekit.plugins.lock import lock

    content = lock(plugin for plugin in discover() if plugin.state is State.ACTIVE)
    write_json(out, content)
    if as_json:
        print_json(content)
    else:
        say(f"{many(len(content['plugins']), 'plugin is', 'plugins are')} locked in {out}")


@plugins.command("verify")
@click.argument("file", type=click.Path(path_type=Path), default=LOCK_FILE)
@with_options(json_option, debug_option)
def verify(file: Path, as_json: bool) -> None:
    """Compare the installed plugins with a lock, a run.json or a result.json."""
    from moekit.plugins.lock import differences, read_lock

    locked = read_lock(file)
    found = list(differences(locked, discover()))
    if as_json:
        print_json({"plugins": len(locked), "differences": found})
    if found:
        raise MoekitError(
            f"the installed plugins differ from the lock: {'; '.join(found)}",
            whose=str(file),
            fix="install what the lock names, or lock again",
            code="error/lock-differs",
        )
    if not as_json:
        say(f"all {len(locked)} plugins of {file} are installed as they were")


def _named(name: str) -> list[Plugin]:
    found = named(name)
    if not found:
        raise UsageError(
            f"no plugin has the name {name!r}",
            whose=name,
            fix="see `moekit plugins list`",
            code="usage/unknown-name",
        )
    return found


def _switch(name: str, *, on: bool) -> None:
    found = sorted({plugin.distribution for plugin in _named(name)})
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} distributions have a plugin of that name",
            whose=name,
            fix=f"name one of them: {', '.join(found)}",
            code="usage/ambiguous-name",
        )
    for distribution in found:
        if canonical(distribution) == "moekit" and not on:
            raise UsageError(
                "moekit's own plugin cannot be switched off",
                whose=name,
                fix="name another plugin; see `moekit plugins list`",
                code="usage/own-plugin",
            )
        switch(distribution, on=on)
        say(f"{distribution} is switched {'on' if on else 'off'}")


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


# The commands below live in files of their own, since they need more than lists do.
def _add_commands() -> None:
    from moekit.cli.plugins_check import check
    from moekit.cli.plugins_doctor import doctor
    from moekit.cli.plugins_new import new

    for command in (check, doctor, new):
        plugins.add_command(command)


_add_commands()
