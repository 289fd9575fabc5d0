"""The hooks of the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit import CommandSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def moekit_commands() -> list[CommandSpec]:
    """The command `ray-serve`."""
    return [
        CommandSpec(
            name="ray-serve",
            build=_command,
            summary="Answer over HTTP by replicas on the machines of a Ray cluster.",
        )
    ]


def _command() -> click.Command:
    from moekit_ray_serve.command import ray_serve

    return ray_serve
