"""`moekit serve`: answer over HTTP by several kits on one backbone."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

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
from moekit.cli.output import print_json, say
from moekit.cli.watch import stopped_by_signals

_file = click.Path(path_type=Path, dir_okay=False)

_network_options = with_options(
    click.option(
        "--host", default="127.0.0.1", show_default=True, help="Address that it listens on."
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8040,
        show_default=True,
        help="Its port; 0 for any that is free.",
    ),
    click.option(
        "--token-file",
        type=_file,
        metavar="FILE",
        help="Tokens that clients must show, one a line.",
    ),
    click.option(
        "--unprotected",
        is_flag=True,
        help="Listen on other addresses than this machine's own without tokens.",
    ),
    click.option("--tls-cert", type=_file, metavar="FILE", help="Certificate chain, as PEM."),
    click.option("--tls-key", type=_file, metavar="FILE", help="Its private key, as PEM."),
    click.option(
        "--cors",
        multiple=True,
        metavar="ORIGIN",
        help="A site whose pages may read answers; may be given several times. None if not given.",
    ),
)
_bounds_options = with_options(
    click.option(
        "--batch-size",
        type=click.IntRange(1, 4096),
        default=8,
        show_default=True,
        help="Most images a forward pass; with 1 each image is computed by itself.",
    ),
    click.option(
        "--gather",
        "gather_ms",
        type=click.FloatRange(0, 10_000),
        default=4.0,
        show_default=True,
        metavar="MS",
        help="Longest time that a request waits for others, in milliseconds.",
    ),
    click.option(
        "--queue",
        type=click.IntRange(1, 100_000),
        default=64,
        show_default=True,
        help="Most images that wait.",
    ),
    click.option(
        "--deadline",
        "deadline_s",
        type=click.FloatRange(0, 3600, min_open=True),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="Longest time of a request, its upload included.",
    ),
    click.option(
        "--most-mib",
        type=click.FloatRange(0, 4096, min_open=True),
        default=32.0,
        show_default=True,
        help="Most MiB of a request.",
    ),
    click.option(
        "--most-images",
        type=click.IntRange(1, 4096),
        default=32,
        show_default=True,
        help="Most images of a request.",
    ),
    click.option(
        "--most-pixels",
        type=click.IntRange(1),
        default=100_000_000,
        show_default=True,
        help="Most pixels of an image.",
    ),
    click.option(
        "--most-kits",
        type=click.IntRange(2),
        help="Most kits that lie in memory. All if not given.",
    ),
)


_camera_options = with_options(
    click.option(
        "--camera",
        "cameras",
        multiple=True,
        metavar="NAME=SOURCE",
        help="A folder, video file, RTSP address or V4L device whose newest frames all kits "
        "answer; may be given up to 16 times.",
    ),
    click.option(
        "--camera-kit",
        "camera_kits",
        multiple=True,
        metavar="NAME=KIT[,KIT...]",
        help="The kits that answer a camera, if not all do; may be given once for each.",
    ),
)


_correction_options = with_options(
    click.option(
        "--corrections",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Take corrections of answers, and keep them there as labels, with their images.",
    ),
    click.option(
        "--review-list",
        "review_lists",
        multiple=True,
        type=_file,
        metavar="FILE",
        help="Show the images of a list of `moekit next`; may be given several times.",
    ),
)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="[NAME=]RUN...")
@with_options(
    _network_options,
    _bounds_options,
    _camera_options,
    _correction_options,
    backend_option,
    weights_option,
    form_option,
    device_option,
    json_option,
    debug_option,
)
def serve(
    runs: tuple[str, ...],
    backend: str,
    weights: str,
    form: str,
    device: str,
    most_kits: int | None,
    cameras: tuple[str, ...],
    camera_kits: tuple[str, ...],
    corrections: Path | None,
    review_lists: tuple[Path, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Answer over HTTP by the kits of RUNs, all on one backbone.

    Requests name a kit by the NAME of its run, or by that of the run's folder. SIGTERM or Ctrl-C
    ends the server once the requests in flight are answered. With --json its address and kits are
    printed as soon as it listens.
    """
    from moekit.serve.libraries import check_libraries

    check_libraries()
    with quick_imports():
        from moekit.serve.facts import named_runs
        from moekit.serve.options import ServeOptions
        from moekit.serve.server import serve_runs
        from moekit.serve.streams.naming import named_kits, named_sources

    output = sys.stdout

    def on_ready(url: str, kits: list[dict[str, Any]]) -> None:
        if as_json:
            with contextlib.redirect_stdout(output):
                print_json({"url": url, "kits": kits})
            output.flush()
        for one in kits:
            say(f"{one['name']}: the kit {one['kit']}, task {one['task']}")
            for sentence in filter(None, (one.get("caution"), one["disclaimer"])):
                say(f"  {sentence}")
            if "replaced_by" in one:
                say(f"  the run {one['replaced_by']} was found to be better, and replaces it")
        say(f"listening on {url}")

    chosen = ServeOptions(**options)
    sources = named_sources(cameras, most_bytes=chosen.most_bytes, most_pixels=chosen.most_pixels)
    named = named_runs(list(runs))
    answering = named_kits(camera_kits, cameras=sources, kits=named)
    with stopped_by_signals() as stop, contextlib.redirect_stdout(sys.stderr):
        serve_runs(
            named,
            options=chosen,
            on_ready=on_ready,
            stop=stop,
            backend=backend,
            device=device,
            weights=weights,
            form=form,
            most_kits=most_kits,
            cameras=sources,
            corrections=corrections,
            review_lists=review_lists,
            camera_kits=answering,
        )
    say("ended")
