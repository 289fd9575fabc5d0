"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator from several, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def examples(*commands: str) -> str:
    """The end of a help page: commands as a user types them."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of a failure."
)


def command_options(command: Command) -> Command:
    """Adds to a command what moekit's own take: `--json`, handed over as `as_json`, and `--debug`.

    With `--debug` moekit shows the traceback of a failure; the command does not see it.
    """
    return with_options(json_option, debug_option)(command)


data_option = click.option(
    "--data", required=True, metavar="LOADER[=PATH]", help="The data, such as folder=PATH."
)
data_licence_option = click.option(
    "--data-licence",
    metavar="TEXT",
    help="The licence of the data, such as CC-BY-4.0, in place of what loader and folder say.",
)
task_option = click.option(
    "--task",
    metavar="NAME",
    help="Which of the kit's tasks: score, classify, segment or another; its first if not given.",
)
run_option = click.option(
    "--run",
    "run_folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The run folder that `moekit adapt` made.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed."
)
batch_option = click.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    default=16,
    show_default=True,
    help="Images a forward pass.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
weights_option = click.option(
    "--weights",
    default="auto",
    show_default=True,
    metavar="SOURCE",
    help="Backbone weights: auto, package, hub, or a safetensors file.",
)

architecture_option = click.option(
    "--architecture", default=None, help="A timm vision transformer."
)
form_option = click.option(
    "--form",
    default="auto",
    show_default=True,
    metavar="SOURCE",
    help="Sparse form of the backbone: auto (shipped with moekit), none, or a file.",
)


def _window(_: click.Context, option: click.Parameter, value: int | None) -> int | None:
    if value == 1:
        raise click.BadParameter("a window of one patch merges nothing; take 0 or 2", param=option)
    return value


expert_option = click.option(
    "--expert",
    "experts",
    multiple=True,
    metavar="NAME",
    help="Add a registered expert next to the kit's own; may be given several times.",
)
gate_option = click.option(
    "--gate", metavar="NAME", help="Use a registered gate instead of the kit's."
)
top_k_option = click.option("--top-k", type=click.IntRange(1), help="Generic experts a token has.")
devices_option = click.option(
    "--devices", type=click.IntRange(1), default=1, help="Processes to train with."
)
cache_option = click.option(
    "--cache-gib",
    type=click.FloatRange(0, min_open=True),
    default=16.0,
    show_default=True,
    help="Most disk space for frozen activations.",
)
token_block_option = click.option(
    "--token-block",
    type=click.IntRange(0),
    help="The first block that does not compute all patches one by one; 2 if not given.",
)
token_window_option = click.option(
    "--token-window",
    type=click.IntRange(0),
    callback=_window,
    metavar="PATCHES",
    help="Side of the windows by which the other patches are computed; 0 lets them skip; 2 if not "
    "given.",
)


asking_options = with_options(
    click.option(
        "--kit",
        "kits",
        multiple=True,
        metavar="NAME",
        help="A kit that answers; may be given several times. All that are served if not given.",
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The first token in it is shown to the server.",
    ),
)
"""Of commands that ask a server."""


def command_line() -> str:
    """What was typed, less the folder of the program."""
    return " ".join(["moekit", *sys.argv[1:]])


metric_option = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Report a registered metric after the kit's own, see `moekit metrics`; may be given "
    "several times.",
)
duplicates_option = click.option(
    "--duplicates",
    type=click.Choice(["keep", "drop", "refuse"]),
    help="What happens to equal files in two splits. `drop` leaves out of training what validation "
    "or test holds, and `refuse` names all pairs. As the loader does if not given: most refuse.",
)
rule_option = click.option(
    "--threshold-rule",
    metavar="RULE",
    help="How the threshold is chosen on the run's validation split; the rule that is kept with "
    "the run if not given.",
)
use_option = click.option(
    "--use",
    type=click.Choice(["specialist", "baseline", "best"]),
    help="Which of the run's models answers; best is what adapt found on validation data. The one "
    "that is kept with the run if not given.",
)
review_option = click.option(
    "--review",
    metavar="LOW",
    help="Scores from LOW up to the threshold are for review: a number between 0 and 1, or "
    "max-false-alarm=SHARE on the run's validation scores.",
)
backend_option = click.option(
    "--backend",
    default="torch",
    show_default=True,
    metavar="NAME",
    help="What computes: torch, or an export of the run: onnx, openvino, openvino-int8, each also "
    "with -split, or its folder.",
)
precision_option = click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="Arithmetic."
)
