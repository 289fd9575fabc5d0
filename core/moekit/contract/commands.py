"""Records of commands and health checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthCheckSpec:
    """A question that `moekit plugins doctor` asks: is what the plugin needs there, and sound?

    Attributes:
        name: Short name, unique in its distribution.
        run: Returns None when all is well, else one sentence that says what is wrong and what to
            do. It changes nothing and takes seconds at most.
        summary: The question, in one line.
    """

    name: str
    run: Callable[[], str | None]
    summary: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A command of `moekit`.

    What `moekit --help` shows is the manifest's table [provides.commands], since help imports no
    plugin; the summary here must say the same. moekit's own commands cannot be replaced: a command
    of the same name is reached as `moekit DISTRIBUTION/NAME` alone, and so is one of a name that
    several plugins give.

    Attributes:
        name: Short name, what is typed after `moekit`.
        build: Makes the click command; called when the command is, so that neither click nor the
            command's own libraries are imported before. `moekit.command_options` adds `--json` and
            `--debug`. It tells a failure by raising a `moekit.MoekitError`, ends early with
            `ctx.exit(code)`, and what it returns is ignored; anything else that it raises is
            reported as the plugin's fault, exit code 3.
        summary: One line, as in the manifest.
    """

    name: str
    build: Callable[[], click.Command]
    summary: str
