"""`moekit bench serve`: put a load on a server and measure; it needs no extra and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.options import asking_options, command_line, debug_option, json_option, with_options
from moekit.cli.output import echo, print_json, say


@click.command("serve")
@click.argument("url")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@with_options(
    click.option(
        "--clients",
        type=click.IntRange(1, 1000),
        help="Clients that each wait for an answer before they ask again; with --rate the most "
        "requests in flight. 8 if not given, 64 with --rate.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(0, 100_000, min_open=True),
        help="Requests a second that come whether earlier ones are answered or not.",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(0, min_open=True),
        default=10.0,
        show_default=True,
        help="How long it is measured.",
    ),
    click.option(
        "--warm-up",
        "warm_up_s",
        type=click.FloatRange(0),
        default=1.0,
        show_default=True,
        metavar="SECONDS",
        help="How long requests are sent before that.",
    ),
    click.option(
        "--images",
        "per_request",
        type=click.IntRange(1, 4096),
        default=1,
        show_default=True,
        help="Images of a request.",
    ),
    asking_options,
    click.option(
        "--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON file to write."
    ),
    json_option,
    debug_option,
)
def bench_serve(
    url: str,
    images: tuple[Path, ...],
    clients: int | None,
    rate: float | None,
    token_file: Path | None,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Put a load of IMAGEs on the server at URL, and measure latency and answers a second.

    A closed loop of --clients, or an open loop with --rate, in which latency counts from when a
    request was due. The code is 1 if no request is answered.
    """
    from moekit.serve.client import Client, image_bytes, read_token
    from moekit.serve.load import Load, run_load

    token = None if token_file is None else read_token(token_file)
    load = Load(
        url=url,
        images=[image_bytes(path) for path in images],
        clients=clients or (8 if rate is None else 64),
        rate=rate,
        token=token,
        **options,
    )
    # Says in words what is wrong with address, token or kits.
    list(Client(url, token=token, timeout_s=load.timeout_s).answers(images[:1], load.kits))
    found = {"command": command_line(), **run_load(load)}
    if out is not None:
        from moekit.files import write_json

        write_json(out, found)
        say(f"written: {out}")
    if as_json:
        print_json(found)
    else:
        for line in _in_words(found):
            echo(line)


def _in_words(found: dict[str, Any]) -> list[str]:
    outcomes = {**found["statuses"], **found["errors"]}
    latency = {name: value for name, value in found["latency_ms"].items() if value is not None}
    told = [
        f"{found['images_per_s']:.1f} images/s, {found['requests_per_s']:.1f} requests/s over "
        f"{found['seconds']:.1f} s",
        "latency in ms: " + ", ".join(f"{name} {value:.1f}" for name, value in latency.items()),
        "requests: " + ", ".join(f"{count} x {name}" for name, count in outcomes.items()),
    ]
    if found["sent_late"] and found["loop"] == "open":
        told.append(f"{found['sent_late']} requests were sent late: all clients were waiting")
    return told
