"""`moekit verify`: compute a served answer again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    backend_option,
    debug_option,
    device_option,
    form_option,
    json_option,
    weights_option,
    with_options,
)
from moekit.cli.output import print_json, print_table, reporter, say

if TYPE_CHECKING:
    from moekit.serve.verify import Verified

_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("answer", type=_file)
@click.argument("image", type=_file)
@with_options(
    click.option(
        "--run",
        "runs",
        multiple=True,
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="The run that was served; may be given several times.",
    ),
    click.option(
        "--kit",
        metavar="NAME",
        help="The kit whose answer is looked at, as it was called there. All if not given.",
    ),
    click.option(
        "--tolerance",
        type=click.FloatRange(0),
        default=1e-4,
        show_default=True,
        help="Of numbers that need not be the same to the bit, as a share of the larger one or "
        "of 1.",
    ),
    backend_option,
    weights_option,
    form_option,
    device_option,
    json_option,
    debug_option,
)
def verify(
    answer: Path, image: Path, runs: tuple[Path, ...], as_json: bool, **options: Any
) -> None:
    """Check the hashes of a served ANSWER to IMAGE, and compute it again.

    ANSWER is a file: a reply of `moekit serve`, what `moekit client --json` prints, or one answer
    with its receipt. It must come out to the bit if its pass held no other image and if device,
    threads and versions are the same. Otherwise the tolerance holds. The code is 1 if it differs.
    """
    with reporter() as progress:
        with quick_imports(progress.update):
            from moekit.serve.client import image_bytes
            from moekit.serve.receipts import read_served
            from moekit.serve.verify import verify_answers

        found, left = verify_answers(read_served(answer), image_bytes(image), runs, **options)
    if as_json:
        print_json({"verified": [dataclasses.asdict(one) for one in found], "runs_not_given": left})
        return
    print_table(
        "verified",
        ("kit", "run", "same", "other here than there"),
        [(one.name, one.run, _how(one), _others(one)) for one in found],
    )
    if left:
        say(f"not looked at, since their runs are not given: {', '.join(left)}")


def _how(one: Verified) -> str:
    if one.bitwise:
        return "to the bit"
    told = f"numbers to {one.largest_difference:.1g}"
    return told if one.images in (1, None) else f"{told}; {one.images} images shared the pass"


def _others(one: Verified) -> str:
    return "\n".join(f"{name}: {here}, there {there}" for name, (there, here) in one.others.items())
