"""`moekit bench`: performance next to the peers and the limit, as ratios."""

from __future__ import annotations

from pathlib import Path

import click

from moekit.cli.bench_serve import bench_serve
from moekit.cli.options import command_line, debug_option, json_option, weights_option, with_options
from moekit.cli.output import print_json, reporter, say


class _Measuring(click.Group):
    """A group that measures unless a command of it is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["measure", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Measuring)
def bench() -> None:
    """Measure performance.

    `moekit bench NAME...` is `moekit bench measure NAME...`.
    """


bench.add_command(bench_serve)


@bench.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@with_options(
    click.option(
        "--out",
        "folder",
        default=Path("runs") / "bench",
        show_default=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for bench.json and bench.svg.",
    ),
    click.option(
        "--dtype",
        "dtypes",
        multiple=True,
        type=click.Choice(["fp32", "bf16"]),
        help="Arithmetic; may be given twice. Both if not given.",
    ),
    click.option(
        "--threads",
        multiple=True,
        type=click.IntRange(1, 1024),
        help="Threads; may be given several times. As many as torch takes if not given.",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(0, min_open=True),
        default=2.0,
        show_default=True,
        help="Time for each comparison, all its candidates together.",
    ),
    click.option(
        "--kits",
        multiple=True,
        type=click.IntRange(1, 4096),
        help="Of `kits`: kits that answer together; may be given several times. "
        "1, 2, 4, 8 and 16 if not given.",
    ),
    click.option(
        "--run",
        "runs",
        multiple=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Of `kits`: a run whose kit is measured; may be given several times. Without it kits "
        "with random weights are.",
    ),
    click.option(
        "--most-kits",
        type=click.IntRange(2),
        help="Of `kits`: most kits of runs that lie in memory. All if not given.",
    ),
    click.option(
        "--token-side",
        "token_sides",
        multiple=True,
        type=click.IntRange(14, 8192),
        help="Of `tokens`: side of the image; may be given several times. 512 if not given.",
    ),
    click.option(
        "--token-share",
        "token_shares",
        multiple=True,
        type=click.FloatRange(0, 1, min_open=True),
        help="Of `tokens`: share of the patches that is computed one by one; may be given several "
        "times. 0.2, 0.35, 0.5 and 0.7 if not given.",
    ),
    click.option(
        "--token-block",
        type=click.IntRange(0),
        default=2,
        show_default=True,
        help="Of `tokens`: the first block that a token may skip.",
    ),
    click.option(
        "--token-window",
        type=click.IntRange(2),
        default=2,
        show_default=True,
        help="Of `tokens`: side of the windows by which tokens are merged, in patches.",
    ),
    weights_option,
    json_option,
    debug_option,
)
def measure(
    names: tuple[str, ...],
    folder: Path,
    dtypes: tuple[str, ...],
    threads: tuple[int, ...],
    seconds: float,
    kits: tuple[int, ...],
    runs: tuple[Path, ...],
    most_kits: int | None,
    token_sides: tuple[int, ...],
    token_shares: tuple[float, ...],
    token_block: int,
    token_window: int,
    weights: str,
    as_json: bool,
) -> None:
    """Measure the benchmarks NAME (layer, scaling, backbone, kits, tokens; all if none is named).

    Candidates run in turn in one process. Ratios are to a dense network of the same active
    arithmetic in the same round, and of kits to one kit. Median and quartiles are over the rounds.
    """
    import torch

    from moekit.bench.results import results, write_results
    from moekit.bench.suite import Plan, run_benchmarks
    from moekit.files import check_writable
    from moekit.jobs.session import quiet_libraries
    from moekit.outputs import BENCHMARK, check_vacant

    quiet_libraries()
    check_vacant(folder, BENCHMARK)
    check_writable(folder)
    plan = Plan(
        dtypes=dtypes or ("fp32", "bf16"),
        threads=threads or (torch.get_num_threads(),),
        seconds=seconds,
        weights=weights,
        kits=kits or Plan.kits,
        runs=runs,
        most_kits=most_kits,
        token_sides=token_sides or Plan.token_sides,
        token_shares=token_shares or Plan.token_shares,
        token_block=token_block,
        token_window=token_window,
    )
    with reporter() as progress:
        rows = run_benchmarks(names, plan, progress.line)
    found = results(rows, plan, command=command_line())
    written = write_results(found, folder)
    if as_json:
        print_json(found)
    say(f"written: {', '.join(map(str, written))}")
