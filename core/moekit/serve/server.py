"""The server: opens runs, listens, and drains on SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from moekit.errors import UsageError
from moekit.plugins.faults import names_owner
from moekit.serve.app import build_app
from moekit.serve.batching import Batcher
from moekit.serve.corrections.keeper import Keeper
from moekit.serve.corrections.review import ReviewList
from moekit.serve.metrics import ServeMetrics
from moekit.serve.opening import TORCH, open_runs
from moekit.serve.options import ServeOptions
from moekit.serve.service import Service
from moekit.serve.streams.loop import Streams
from moekit.serve.streams.sources import Source
from moekit.serve.tokens import Tokens

_BACKLOG = 512
_MARGIN_S = 5
Ready = Callable[[str, list[dict[str, Any]]], None]


@names_owner
def serve_runs(
    runs: Mapping[str, Path],
    *,
    options: ServeOptions,
    on_ready: Ready,
    stop: threading.Event,
    backend: str = TORCH,
    device: str = "auto",
    weights: str = "auto",
    form: str = "auto",
    most_kits: int | None = None,
    cameras: Mapping[str, Source] | None = None,
    corrections: Path | None = None,
    review_lists: Sequence[Path] = (),
    camera_kits: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Serves runs until SIGTERM or Ctrl-C; requests in flight are answered first.

    Args:
        runs: Run folders by the names that requests call them, all of one backbone.
        options: How the server is set up.
        on_ready: Called once it listens, with its address and what is known of the kits.
        stop: The same signals set it; while runs are loading it ends the server at once.
        backend: torch, or an export of each run; see `moekit.export.record.open_export`.
        device: auto, cpu, cuda or cuda:N.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        most_kits: Most kits that lie in memory; None for all.
        cameras: Sources of frames that all kits answer as they come, by name.
        corrections: Folder that keeps what people say of answers; None to take no corrections.
        review_lists: Lists of `moekit next` whose images people are asked to look at.
        camera_kits: Which kits answer a camera, if not all do, by its name.

    Raises:
        DataError: A run is not finished, or has no such export; or a folder of corrections or a
            list cannot be used.
        UsageError: An option cannot be followed, or a kit answers no single images.
        WeightsError: The runs were trained on other weights than the backbone's.
    """
    tokens = None if options.token_file is None else Tokens.read(options.token_file)
    with contextlib.closing(bound_socket(options.host, options.port)) as listening:
        service = open_runs(
            runs,
            options=options,
            backend=backend,
            device=device,
            weights=weights,
            form=form,
            most_kits=most_kits,
        )
        with contextlib.closing(service):
            run_service(
                service,
                options=options,
                tokens=tokens,
                listening=listening,
                on_ready=on_ready,
                stop=stop,
                cameras=cameras,
                corrections=corrections,
                review_lists=review_lists,
                camera_kits=camera_kits,
            )


def run_service(
    service: Service,
    *,
    options: ServeOptions,
    tokens: Tokens | None,
    listening: socket.socket,
    on_ready: Ready,
    stop: threading.Event,
    cameras: Mapping[str, Source] | None = None,
    corrections: Path | None = None,
    review_lists: Sequence[Path] = (),
    camera_kits: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Serves until a signal; see `serve_runs`."""
    made = _made(
        service,
        options=options,
        tokens=tokens,
        cameras=cameras or {},
        corrections=corrections,
        review_lists=review_lists,
        camera_kits=camera_kits,
    )
    app, batcher, streams = made
    facts = list(service.facts.values())

    def on_end() -> None:
        batcher.hurry()
        streams.end_events()

    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(options.deadline_s + _MARGIN_S),
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
    )
    told = [
        {"name": one.name, "kit": one.kit, "task": one.task, "disclaimer": one.disclaimer}
        | ({"caution": one.caution} if one.caution else {})
        | ({"replaced_by": one.replaced_by} if one.replaced_by else {})
        for one in facts
    ]
    address = address_of(listening, tls=options.tls_cert is not None)
    server = _Server(config, on_ready=lambda: on_ready(address, told), on_end=on_end, stop=stop)
    server.run(sockets=[listening])


def open_app(
    runs: Mapping[str, Path],
    *,
    options: ServeOptions,
    corrections: Path | None = None,
    review_lists: Sequence[Path] = (),
    backend: str = TORCH,
    device: str = "auto",
    weights: str = "auto",
    form: str = "auto",
    most_kits: int | None = None,
) -> FastAPI:
    """The service as an ASGI application, for servers of other makers; it has no cameras.

    Its threads start and end with its lifespan. Address, port and TLS are the server's own.

    Args:
        runs: As of `serve_runs`.
        options: As of `serve_runs`.
        corrections: As of `serve_runs`.
        review_lists: As of `serve_runs`.
        backend: As of `serve_runs`.
        device: As of `serve_runs`.
        weights: As of `serve_runs`.
        form: As of `serve_runs`.
        most_kits: As of `serve_runs`.

    Raises:
        MoekitError: As of `serve_runs`.
    """
    tokens = None if options.token_file is None else Tokens.read(options.token_file)
    service = open_runs(
        runs,
        options=options,
        backend=backend,
        device=device,
        weights=weights,
        form=form,
        most_kits=most_kits,
    )
    return _made(
        service,
        options=options,
        tokens=tokens,
        cameras={},
        corrections=corrections,
        review_lists=review_lists,
        camera_kits=None,
    )[0]


def _made(
    service: Service,
    *,
    options: ServeOptions,
    tokens: Tokens | None,
    cameras: Mapping[str, Source],
    corrections: Path | None,
    review_lists: Sequence[Path],
    camera_kits: Mapping[str, Sequence[str]] | None,
) -> tuple[FastAPI, Batcher, Streams]:
    """The application, and the threads that start and end with it."""
    metrics = ServeMetrics()
    batcher = Batcher(
        service,
        batch_size=options.batch_size,
        gather_s=options.gather_ms / 1000,
        places=options.queue,
        observer=metrics,
    )
    facts = list(service.facts.values())
    streams = Streams(
        cameras,
        batcher=batcher,
        kits=[one.name for one in facts],
        within_s=options.deadline_s,
        kits_of=camera_kits,
    )
    keeper = review = None
    if corrections is not None:
        keeper = Keeper(corrections, facts, most_pixels=options.most_pixels)
    if review_lists:
        review = ReviewList.read(review_lists, most_bytes=options.most_bytes)
    app = build_app(
        facts,
        batcher=batcher,
        options=options,
        metrics=metrics,
        tokens=tokens,
        streams=streams,
        keeper=keeper,
        review=review,
    )
    return app, batcher, streams


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that is bound, and does not listen yet.

    Raises:
        UsageError: The address is taken or is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise UsageError(
            f"the server cannot listen on {host}, port {port} ({error.strerror or error})",
            whose="--host and --port",
            fix="choose another port, or 0 for any that is free",
            code="usage/cannot-listen",
        ) from error
    return made


def address_of(listening: socket.socket, *, tls: bool) -> str:
    """The address of a socket as a URL."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


class _Server(uvicorn.Server):
    """Says when it listens, and ends at once if a signal came before."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_ready: Callable[[], None],
        on_end: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_end = on_end
        self._stop = stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._stop.is_set():
            self.should_exit = True
        elif self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_end()
        await super().shutdown(sockets=sockets)
