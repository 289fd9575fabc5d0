"""`moekit ray-serve`: the service on the machines of a Ray cluster."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from moekit import UsageError, command_options, print_json, say

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("ray-serve")
@click.argument("runs", nargs=-1, required=True, metavar="[NAME=]RUN...")
@click.option("--replicas", type=click.IntRange(1, 1000), default=2, show_default=True)
@click.option(
    "--cpus",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Processors of each replica.",
)
@click.option(
    "--gpus",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Graphics processors of each replica; a share if several are to share one.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Of a Ray cluster that runs; a local one is started if not given.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8040, show_default=True)
@click.option("--token-file", type=_FILE, metavar="FILE")
@click.option("--unprotected", is_flag=True, help="As of `moekit serve`.")
@click.option("--batch-size", type=click.IntRange(1, 4096), default=8, show_default=True)
@click.option("--queue", type=click.IntRange(1, 100_000), default=64, show_default=True)
@click.option("--corrections", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER")
@click.option("--weights", default="auto", show_default=True)
@click.option("--form", default="auto", show_default=True)
@command_options
def ray_serve(
    runs: tuple[str, ...],
    replicas: int,
    cpus: float,
    gpus: float,
    address: str | None,
    corrections: Path | None,
    weights: str,
    form: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Answer over HTTP by replicas on the machines of a Ray cluster.

    SIGTERM or Ctrl-C ends them once the requests in flight are answered. What is not said here is
    as of `moekit serve`.
    """
    import ray
    from ray import serve

    from moekit.serve import ServeOptions, named_runs
    from moekit_ray_serve.deployment import NAME, application

    chosen = ServeOptions(**options)
    made = application(
        named_runs(list(runs)),
        options=chosen,
        replicas=replicas,
        cpus=cpus,
        gpus=gpus,
        corrections=corrections,
        weights=weights,
        form=form,
        device="auto" if gpus else "cpu",
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ray.init(address=address, log_to_driver=False, include_dashboard=False)
    try:
        serve.start(http_options={"host": chosen.host, "port": chosen.port})
        try:
            serve.run(made, name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise UsageError(
                "the replicas did not start",
                whose=", ".join(runs),
                fix="see `serve status` and Ray's logs; try `moekit serve` with the same runs",
                code="usage/replicas-failed",
            ) from error
        url = f"http://{chosen.host}:{chosen.port}"
        if as_json:
            print_json({"url": url, "replicas": replicas})
        say(f"{replicas} replicas listen on {url}")
        stop.wait()
        serve.shutdown()
    finally:
        ray.shutdown()
    say("ended")
