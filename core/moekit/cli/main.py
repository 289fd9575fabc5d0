"""The command `moekit`: finds commands lazily, turns every failure into three lines and a code."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from moekit.errors import MoekitError
from moekit.plugins.settings import DISABLE_VARIABLE, STRICT_VARIABLE

_COMMANDS = {
    "demo": "moekit.cli.demo:demo",
    "adapt": "moekit.cli.adapt:adapt",
    "evaluate": "moekit.cli.evaluate:evaluate",
    "predict": "moekit.cli.predict:predict",
    "report": "moekit.cli.report:report",
    "kits": "moekit.cli.lists:kits",
    "datasets": "moekit.cli.lists:datasets",
    "metrics": "moekit.cli.lists:metrics",
    "experts": "moekit.cli.lists:experts",
    "gates": "moekit.cli.lists:gates",
    "plugins": "moekit.cli.plugins:plugins",
    "backbone": "moekit.cli.backbone:backbone",
}
_SUMMARIES = {
    "demo": "A kit's main job on data that comes with its install.",
    "adapt": "Train a kit's specialists, gate and head.",
    "evaluate": "Score a split and write every metric with its interval.",
    "predict": "Score images: one row and one overlay each.",
    "report": "Write a run's report as one HTML file.",
    "kits": "List the installed kits.",
    "datasets": "List the installed loaders.",
    "metrics": "List the installed metrics.",
    "experts": "List the installed experts, for --expert.",
    "gates": "List the installed gates, for --gate.",
    "plugins": "List, check, make and switch plugins.",
    "backbone": "Tell about the shared backbone.",
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES[name]) for name in _COMMANDS])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--disable-plugin",
    "disabled",
    multiple=True,
    metavar="NAME",
    help="Leave a plugin out of this command, by its distribution.",
)
@click.option("--strict", is_flag=True, help="Fail if any installed plugin is not usable.")
@click.version_option(package_name="moekit")
def cli(disabled: Sequence[str], strict: bool) -> None:
    """Vision specialists on one shared mixture-of-experts backbone."""
    # The variables reach the processes of a parallel training too.
    if disabled:
        named = os.environ.get(DISABLE_VARIABLE, "")
        os.environ[DISABLE_VARIABLE] = ",".join(filter(None, [named, *disabled]))
    if strict:
        os.environ[STRICT_VARIABLE] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code.

    0 done, 1 a stated condition failed, 2 wrong usage, 3 a plugin's fault, 4 bad data.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        outcome = cli.main(args=given, prog_name="moekit", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
    except MoekitError as error:
        code = _fail(given, error, error.exit_code, f"moekit: {error}")
    except click.ClickException as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, click.Abort):
        code = 130
        click.echo("moekit: stopped; run the same command with --resume to go on", err=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except SystemExit as error:
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
        what = f"an unforeseen error: {type(error).__name__}: {error}"
        code = _fail(given, error, 1, _unforeseen(what, "run it with --debug and report the text"))
    sys.exit(code)


def _fail(arguments: Sequence[str], error: BaseException, code: int, text: str) -> int:
    if "--debug" in arguments:
        traceback.print_exception(error)
    click.echo(text, err=True)
    return code


def _unforeseen(what: str, fix: str) -> str:
    return f"moekit: {what}\n  where: moekit\n  to do: {fix}"


if __name__ == "__main__":
    main()
