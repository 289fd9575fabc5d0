"""The command `moekit`: finds commands lazily, turns every failure into three lines and a code."""

from __future__ import annotations

import importlib
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from moekit.cli.hints import data_option_hint
from moekit.cli.plugin_commands import PASSED_ON, fault, help_lines, load_command
from moekit.errors import MoekitError, UsageError, is_nobodys
from moekit.plugins.settings import DISABLE_VARIABLE, STRICT_VARIABLE
from moekit.text import printable

if TYPE_CHECKING:
    from moekit.plugins.discovery import Plugin
_WAITING = ("OMP_WAIT_POLICY", "PASSIVE")
"""How threads of one computation wait for each other: asleep. OpenMP's default is to spin, which on
a busy machine takes from the others the time that they need. It is read when torch is imported."""

_COMMANDS = {
    "demo": "moekit.cli.demo:demo",
    "pretrain": "moekit.cli.pretrain:pretrain",
    "adapt": "moekit.cli.adapt:adapt",
    "merge": "moekit.cli.merge:merge",
    "evaluate": "moekit.cli.evaluate:evaluate",
    "predict": "moekit.cli.predict:predict",
    "watch": "moekit.cli.watch:watch",
    "serve": "moekit.cli.serve:serve",
    "client": "moekit.cli.client:client",
    "verify": "moekit.cli.verify:verify",
    "next": "moekit.cli.next_images:next_images",
    "import": "moekit.cli.import_labels:import_labels",
    "export": "moekit.cli.export:export",
    "report": "moekit.cli.report:report",
    "kits": "moekit.cli.lists:kits",
    "datasets": "moekit.cli.lists:datasets",
    "metrics": "moekit.cli.lists:metrics",
    "experts": "moekit.cli.lists:experts",
    "gates": "moekit.cli.lists:gates",
    "tasks": "moekit.cli.lists:tasks",
    "plugins": "moekit.cli.plugins:plugins",
    "doctor": "moekit.cli.doctor:doctor",
    "embed": "moekit.cli.embed:embed",
    "bench": "moekit.cli.bench:bench",
    "backbone": "moekit.cli.backbone:backbone",
}
_SUMMARIES = {
    "demo": "A kit's main job on data that comes with its install.",
    "pretrain": "Teach a kit's specialists from images without labels.",
    "adapt": "Train a kit's specialists, gate and head.",
    "merge": "Make one run from those of several sites, without their data.",
    "evaluate": "Answer a split and write every metric with its interval.",
    "predict": "Answer images: one row and one overlay each.",
    "watch": "Answer images as they arrive in a folder, for days.",
    "serve": "Answer over HTTP by several kits on one backbone.",
    "client": "Ask such a server for answers to images.",
    "verify": "Check the receipt of a served answer, and compute it again.",
    "next": "List which images to look at next.",
    "import": "Keep labels of CVAT, Label Studio or COCO as corrections.",
    "export": "Write a trained kit as a graph for ONNX Runtime or OpenVINO.",
    "report": "Write a run's report as one HTML file.",
    "kits": "List the installed kits.",
    "datasets": "List the installed loaders.",
    "metrics": "List the installed metrics, of scores and of maps.",
    "experts": "List the installed experts, for --expert.",
    "gates": "List the installed gates, for --gate and --token-gate.",
    "tasks": "List the installed tasks, for --task.",
    "plugins": "List, check, make and switch plugins.",
    "doctor": "Check machine, weights, cache and plugins.",
    "embed": "Write features of images by the frozen backbone.",
    "bench": "Measure performance next to the peers and the limit.",
    "backbone": "Tell about the shared backbone.",
}
_SECTIONS = {
    "Start": ("demo", "doctor"),
    "Train and answer": (
        *("pretrain", "adapt", "merge", "evaluate", "report"),
        *("predict", "watch", "export"),
    ),
    "Serve and correct": ("serve", "client", "verify", "next", "import"),
    "What is installed": ("kits", "tasks", "datasets", "metrics", "experts", "gates", "plugins"),
    "The backbone": ("backbone", "embed", "bench"),
}
"""How help groups the commands."""


_PLUGIN = "moekit.plugin"
_LONGEST = 10_000
"""Characters of an error."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when help is shown.

    moekit's own come first; what is none of them may be a plugin's.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *(name for name, _ in help_lines())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            loaded = load_command(name)
            if loaded is None:
                return None
            command, ctx.meta[_PLUGIN] = loaded
            return command
        module, _, attribute = _COMMANDS[name].partition(":")
        own: click.Command = getattr(importlib.import_module(module), attribute)
        return own

    def invoke(self, ctx: click.Context) -> Any:
        try:
            outcome = super().invoke(ctx)
        except PASSED_ON:
            raise
        except BaseException as error:
            owner: Plugin | None = ctx.meta.get(_PLUGIN)
            if owner is None:
                raise
            raise fault(owner, str(ctx.invoked_subcommand), error) from error
        # What a plugin's command happens to return is no exit code.
        return None if _PLUGIN in ctx.meta else outcome

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, _SUMMARIES[name]) for name in names])
        added = help_lines()
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(added)


def _leave_out(_ctx: click.Context, _option: click.Parameter, names: Sequence[str]) -> None:
    if not names:
        return
    from moekit.plugins.discovery import named

    found = {name: [plugin.distribution for plugin in named(name)] for name in names}
    unknown = [name for name, plugins in found.items() if not plugins]
    if unknown:
        raise UsageError(
            f"no plugins have the name {unknown[0]!r}",
            whose="--disable-plugin",
            fix="see `moekit plugins list`",
            code="usage/unknown-name",
        )
    # The variables reach the processes of a parallel training too.
    before = os.environ.get(DISABLE_VARIABLE, "")
    chosen = [one for plugins in found.values() for one in plugins]
    os.environ[DISABLE_VARIABLE] = ",".join(filter(None, [before, *chosen]))


def _be_strict(_ctx: click.Context, _option: click.Parameter, strict: bool) -> None:
    if strict:
        os.environ[STRICT_VARIABLE] = "1"


# Both are eager, since a plugin's command is looked for before the group itself is called.
@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--disable-plugin",
    multiple=True,
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=_leave_out,
    help="Leave a plugin out of this command.",
)
@click.option(
    "--strict",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_be_strict,
    help="Fail if any installed plugin is not usable.",
)
@click.version_option(package_name="moekit")
def cli() -> None:
    """Vision specialists on one shared mixture-of-experts backbone."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code.

    0 done, 1 a stated condition failed, 2 wrong usage, 3 a plugin's fault, 4 bad data or
    weights.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault(*_WAITING)
    if logging.lastResort is not None:  # what prints warnings if nobody configured more
        logging.lastResort.setFormatter(_Clean())
    try:
        outcome = cli.main(args=given, prog_name="moekit", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
    except MoekitError as error:
        code = _fail(given, error, error.exit_code, f"moekit: {error}")
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(_in_our_words(shown.getvalue()), err=True, nl=False)
        hint = data_option_hint(error, given)
        if hint:
            click.echo(printable(hint), err=True)
        code = 2
    except (KeyboardInterrupt, click.Abort):
        code = 130
        click.echo("moekit: stopped; the same command goes on, adapt with --resume", err=True)
    except SystemExit as error:
        fault = _owned(error)
        if fault is not None:
            sys.exit(_fail(given, error, fault.exit_code, f"moekit: {fault}"))
        what = f"something ended the program with code {error.code} before it was done"
        fix = "find the plugin with `moekit plugins doctor`, or see where with --debug"
        code = _fail(
            given, error, 3, f"moekit: {what}\n  where: a plugin or library\n  to do: {fix}"
        )
    except MemoryError as error:
        code = _fail(
            given, error, 1, _unforeseen("the memory is exhausted", "use a smaller --batch-size")
        )
    except Exception as error:
        if isinstance(error, BrokenPipeError) and is_nobodys(error):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        fault = _owned(error)
        if fault is not None:
            sys.exit(_fail(given, error, fault.exit_code, f"moekit: {fault}"))
        what = f"an unforeseen error: {type(error).__name__}: {error}"
        code = _fail(given, error, 1, _unforeseen(what, "run it with --debug and report the text"))
    sys.exit(code)


class _Clean(logging.Formatter):
    """Warnings hold texts of plugins and files, which a terminal must not obey."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True, most=_LONGEST)


def _in_our_words(message: str) -> str:
    """A message of click without its self-contradicting kinds of path."""
    told = re.sub(r"\bDirectory ('.*') is a file\b", r"\1 is a file, not a folder", message)
    return re.sub(r"\bFile ('.*') is a directory\b", r"\1 is a folder, not a file", told)


def _owned(error: BaseException) -> MoekitError | None:
    """The error that names the plugin in whose code this one arose."""
    from moekit.plugins.faults import named_fault

    return named_fault(error)


def _fail(arguments: Sequence[str], error: BaseException, code: int, text: str) -> int:
    if "--debug" in arguments:
        traceback.print_exception(error)
    click.echo(printable(text, lines=True, most=_LONGEST), err=True)
    if "--json" in arguments and isinstance(error, MoekitError) and error.details is not None:
        from moekit.cli.output import print_json

        print_json({"error": {"code": error.code, "what": error.what, **error.details}})
    return code


def _unforeseen(what: str, fix: str) -> str:
    return f"moekit: {printable(what)}\n  where: moekit\n  to do: {fix}"


if __name__ == "__main__":
    main()
