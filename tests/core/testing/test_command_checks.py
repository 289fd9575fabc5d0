"""Each check of commands passes a good one and fails one that is broken in just that way."""

import dataclasses
from pathlib import Path

import click
import pytest

from moekit import CommandSpec, command_options
from moekit.plugins.discovery import Plugin
from moekit.plugins.manifest import parse_manifest
from moekit.testing import ConformanceError, NotApplicable, run_checks, suite  # noqa: F401
from moekit.testing.check import CHECKS, Check

MANIFEST = """
name = "specimens"
api = "1.1"
summary = "-"
domain = "any"
hooks = "specimens"

[provides.commands]
specimen = "Do a thing."
"""


class Subject:
    """A subject whose one record is given, with a manifest that declares it."""

    def __init__(self, record):
        self._record = record
        self.plugin = Plugin(
            distribution="specimens",
            version="1",
            entry="specimens",
            manifest=parse_manifest(MANIFEST),
        )

    def record(self, kind, name):
        return self._record


def run_check(name, record):
    check = Check(
        kind="command", record="specimen", name=name, summary="-", subject=Subject(record)
    )
    check.run()


def good():
    @click.group()
    def things():
        """Do things."""

    @things.command()
    @click.option("--fast", is_flag=True, help="Do it fast.")
    @command_options
    def one(fast, as_json):
        """Do one thing."""

    return things


def unexplained():
    things = good()
    things.commands["one"].params[0].help = None
    return things


class Mute(click.Command):
    """A command whose help fails."""

    def format_help(self, ctx, formatter):
        raise ZeroDivisionError


def swallows_everything():
    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1)
    def command(rest):
        """Do a thing."""

    return command


class Greedy(click.Command):
    """A command that does not look at its options."""

    def parse_args(self, ctx, args):
        if "--help" not in args:
            args = []
        return super().parse_args(ctx, args)


def careless():
    return Greedy("specimen", callback=lambda: None, help="Do a thing.")


GOOD = CommandSpec(name="specimen", build=good, summary="Do a thing.")
BROKEN = {
    "has-a-name-of-its-own": {"name": "predict"},
    "says-what-its-manifest-says": {"summary": "Do another thing."},
    "is-a-click-command": {"build": lambda: print},
    "explains-itself": {"build": unexplained},
    "shows-its-help": {"build": lambda: Mute("specimen", help="Do a thing.")},
    "refuses-an-unknown-option": {"build": careless},
}


@pytest.mark.parametrize("name", CHECKS["command"])
def test_a_good_command_passes(name):
    run_check(name, GOOD)


@pytest.mark.parametrize("name", CHECKS["command"])
def test_a_broken_command_fails_the_check_that_it_breaks(name):
    with pytest.raises(ConformanceError):
        run_check(name, dataclasses.replace(GOOD, **BROKEN[name]))


class Writes(click.Group):
    """A group that leaves a file when its help is asked for."""

    def format_help(self, ctx, formatter):
        Path("left-over").touch()
        super().format_help(ctx, formatter)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("explains-itself", lambda: click.Command("specimen", callback=print)),
        ("shows-its-help", lambda: Writes("specimen", help="-")),
        ("shows-its-help", lambda: click.Command("x", help="-", add_help_option=False)),
    ],
)
def test_other_ways_of_being_broken(name, build):
    with pytest.raises(ConformanceError):
        run_check(name, dataclasses.replace(GOOD, build=build))


def test_a_command_that_hands_options_on_is_not_asked_to_refuse_one():
    with pytest.raises(NotApplicable):
        run_check("refuses-an-unknown-option", dataclasses.replace(GOOD, build=swallows_everything))


HOOKS = """
import moekit

def build():
    import click

    @click.command()
    @moekit.command_options
    def command(as_json):
        '''Do a thing.'''
    return command

@moekit.hookimpl
def moekit_commands():
    return [moekit.CommandSpec(name="specimen", build=build, summary="Do a thing.")]
"""


def test_a_plugin_with_a_command_conforms_as_a_whole(install):
    install(
        "specimens",
        manifest=MANIFEST.replace('hooks = "specimens"', 'hooks = "specimens.hooks"'),
        hooks=HOOKS,
    )
    report = run_checks("specimens")
    assert not report.failures
    assert report.ran == report.expected == 13 + len(CHECKS["command"])
