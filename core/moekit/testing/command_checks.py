"""Checks of commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click
from click.testing import CliRunner, Result

from moekit.contract.commands import CommandSpec
from moekit.plugins.commands import RESERVED
from moekit.testing.check import check
from moekit.testing.examples import private_folders
from moekit.testing.subject import Subject
from moekit.testing.verdicts import Blocked, ConformanceError, NotApplicable, require

_UNKNOWN_OPTION = "--no-such-option"
_WRONG_USAGE = 2
Named = tuple[tuple[str, ...], click.Command]


def _spec(subject: Subject, name: str) -> CommandSpec:
    spec: CommandSpec = subject.record("commands", name)
    return spec


def _build(subject: Subject, name: str) -> click.Command:
    built: object = _spec(subject, name).build()
    if not isinstance(built, click.Command):
        raise ConformanceError(f"build() gives a {type(built).__name__}, not a click.Command")
    return built


def _with_its_own(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[Named]:
    """A command and those below it, each with the words that lead to it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _with_its_own(inner, (*words, name))


def _call(command: click.Command, name: str, words: tuple[str, ...]) -> tuple[Result, list[str]]:
    """What became of a call in an empty folder, and the names of what it left there."""
    with private_folders() as folder:
        home = folder / "home"
        home.mkdir()
        with contextlib.chdir(home):
            result = CliRunner().invoke(command, words, prog_name=f"moekit {name}")
        return result, sorted(path.name for path in home.iterdir())


@check("command")
def has_a_name_of_its_own(subject: Subject, name: str) -> None:
    """Its name is none of moekit's own commands, which would hide it."""
    named = _spec(subject, name).name
    require(named not in RESERVED, f"moekit has a command {named} of its own; rename it")


@check("command")
def says_what_its_manifest_says(subject: Subject, name: str) -> None:
    """Its summary is the line that the manifest declares for help."""
    spec = _spec(subject, name)
    manifest = subject.plugin.manifest
    if manifest is None:
        raise Blocked(subject.plugin.reason)
    declared = dict(manifest.provides)["commands"].get(spec.name)
    require(spec.summary == declared, f"{spec.summary!r} is not the manifest's {declared!r}")


@check("command")
def is_a_click_command(subject: Subject, name: str) -> None:
    """It is built as a click command, each time that it is asked for."""
    for _ in range(2):
        _build(subject, name)


@check("command")
def explains_itself(subject: Subject, name: str) -> None:
    """It, each command below it and each of their options has a help text."""
    for words, command in _with_its_own(_build(subject, name)):
        path = " ".join((name, *words))
        require(bool((command.help or "").strip()), f"{path} has no help text")
        silent = [
            option.opts[0]
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden and not option.help
        ]
        require(not silent, f"options of {path} without a help text: {', '.join(silent)}")


@check("command")
def shows_its_help(subject: Subject, name: str) -> None:
    """With --help, it and each command below it print how they are used, and do nothing else."""
    command = _build(subject, name)
    for words, _ in list(_with_its_own(command)):
        result, left = _call(command, name, (*words, "--help"))
        path = " ".join((name, *words))
        require(result.exit_code == 0, f"{path} --help ends with {_ending(result)}")
        require(result.output.startswith("Usage: moekit"), f"{path} --help prints no usage first")
        require(not left, f"{path} --help wrote {', '.join(left)}")


@check("command")
def refuses_an_unknown_option(subject: Subject, name: str) -> None:
    """An option that it does not have is wrong usage, exit code 2."""
    command = _build(subject, name)
    if command.context_settings.get("ignore_unknown_options", command.ignore_unknown_options):
        raise NotApplicable("it hands unknown options on")
    result, left = _call(command, name, (_UNKNOWN_OPTION,))
    require(result.exit_code == _WRONG_USAGE, f"it ends with {_ending(result)}")
    require(not left, f"it wrote {', '.join(left)} before it looked at its options")


def _ending(result: Result) -> str:
    if result.exception is None or isinstance(result.exception, SystemExit):
        return f"exit code {result.exit_code}"
    return f"{type(result.exception).__name__}: {result.exception}"
