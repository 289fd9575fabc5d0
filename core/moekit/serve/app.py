"""The HTTP interface: what is asked where, and how it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from moekit.errors import MoekitError, UsageError
from moekit.serve import refusals
from moekit.serve.batching import Batcher, Ticket
from moekit.serve.corrections.keeper import Keeper
from moekit.serve.corrections.review import ReviewList
from moekit.serve.corrections.routes import add_corrections, add_review
from moekit.serve.counting import Counting
from moekit.serve.facts import AUTO, KitFacts
from moekit.serve.guard import Guard
from moekit.serve.intake import Asked, Intake
from moekit.serve.metrics import CONTENT_TYPE, ServeMetrics
from moekit.serve.options import ServeOptions
from moekit.serve.page.routes import add_page
from moekit.serve.refusals import RefusedError
from moekit.serve.replies import json_reply
from moekit.serve.schema import (
    AnswerReply,
    ErrorReply,
    KitsReply,
    StateReply,
    body_schema,
    fault_of,
)
from moekit.serve.service import Outcome
from moekit.serve.streams.figures import CameraFigures
from moekit.serve.streams.loop import Streams
from moekit.serve.streams.routes import add_streams
from moekit.serve.tokens import Tokens

_logger = logging.getLogger(__name__)
_GONE = 499
_HELD_BODIES = 8
_NOT_SENT = ("verdict", "overlay")
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply}
    for status in (401, 403, 404, 408, 413, 415, 421, 422, 429, 500, 503, 504)
}
_NOT_NOW: dict[int | str, dict[str, Any]] = {503: {"model": StateReply}}
_bearer = HTTPBearer(auto_error=False, description="One of the server's tokens.")


class _GoneError(Exception):
    """The client went away."""


def build_app(
    facts: Sequence[KitFacts],
    *,
    batcher: Batcher,
    options: ServeOptions,
    metrics: ServeMetrics,
    tokens: Tokens | None = None,
    streams: Streams | None = None,
    keeper: Keeper | None = None,
    review: ReviewList | None = None,
) -> FastAPI:
    """The application. The threads of the batcher and of the cameras start and end with it.

    Args:
        facts: The served kits.
        batcher: Computes answers.
        options: Bounds, and origins that may read answers.
        metrics: Figures; the batcher's observer too.
        tokens: What clients must show; None for nothing.
        streams: The cameras; None for none.
        keeper: Keeps corrections; None for no corrections.
        review: Images to look at; None for none.
    """
    known = {one.name: one for one in facts}
    cameras = streams or Streams({}, batcher=batcher, kits=(), within_s=0.0)
    guard = Guard(options, tokens)
    intake = Intake(
        most_bytes=options.most_bytes,
        most_images=options.images,
        most_held=_HELD_BODIES * options.most_bytes,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        batcher.start()
        cameras.start()
        yield
        await asyncio.to_thread(cameras.close)
        await asyncio.to_thread(batcher.close)

    async def protect(
        request: Request,
        _shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        guard.check(request.headers)

    app = FastAPI(
        title="moekit",
        summary="Vision specialists on one shared backbone.",
        version=importlib.metadata.version("moekit"),
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    protected = [Depends(protect)]

    @app.post(
        "/v1/answer",
        response_model=AnswerReply,
        responses=_ERRORS,
        openapi_extra={"requestBody": body_schema()},
        dependencies=protected,
    )
    async def answer(request: Request) -> Response:
        """The answers of one or several kits to one or several images."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if not batcher.is_ready:
            raise refusals.closing()
        if batcher.waiting >= options.queue:  # its body need not be sent
            raise refusals.full(batcher.wait_s)
        async with intake.read(request, timeout_s=options.deadline_s) as asked:
            names = _names(asked.kits, known)
            _check_levels(asked, known)
            allowed = min(asked.deadline_s or options.deadline_s, options.deadline_s)
            outcomes = await _answered(request, asked, names, began + allowed, allowed)
        metrics.answered(outcomes, loop.time() - began)
        levels = dict(asked.extras.levels)
        moved = {name: one.at(levels[name]) for name, one in known.items() if name in levels}
        return _reply(outcomes, {**known, **moved})

    async def _answered(
        request: Request, asked: Asked, names: Sequence[str], deadline: float, allowed: float
    ) -> list[Outcome]:
        left = deadline - asyncio.get_running_loop().time()
        ticket = batcher.submit(names, asked.images, within_s=left, extras=asked.extras)
        if ticket is None:
            raise refusals.full(batcher.wait_s) if batcher.is_ready else refusals.closing()
        reason = "cancelled"
        try:
            return await _finished(request, ticket, left)
        except TimeoutError as error:
            reason = "deadline"
            raise refusals.overdue(allowed) from error
        finally:
            batcher.drop(ticket, reason=reason)

    @app.get("/v1/kits", response_model=KitsReply, responses=_ERRORS, dependencies=protected)
    async def kits() -> Response:
        """The kits that are served, and what their answers rest on."""
        taken = {one.name for one in facts if keeper is not None and keeper.takes(one.name)}
        told = [
            {**_as_json(one, corrected=one.name in taken), "prefix": _prefix(one, facts)}
            for one in facts
        ]
        return json_reply({"kits": told})

    @app.get("/healthz", response_model=StateReply, responses=_NOT_NOW)
    async def healthz() -> Response:
        """Whether the process works: 200, or 503 if its thread has ended."""
        return _state("alive" if batcher.is_alive else "ended", batcher.is_alive)

    @app.get("/readyz", response_model=StateReply, responses=_NOT_NOW)
    async def readyz() -> Response:
        """Whether requests are taken: 200, or 503."""
        return _state("ready" if batcher.is_ready else "closing", batcher.is_ready)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_ERRORS},
        dependencies=protected,
    )
    async def figures() -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    add_streams(
        app,
        cameras,
        entry=lambda outcome: _entry(0, outcome, known),
        protected=protected,
        responses=_ERRORS,
    )
    metrics.add(CameraFigures(cameras.cameras))
    if keeper is not None:
        add_corrections(
            app,
            keeper,
            intake=intake,
            timeout_s=options.deadline_s,
            protected=protected,
            responses=_ERRORS,
        )
    listed = review or ReviewList([], most_bytes=options.most_bytes)
    add_review(app, listed, keeper, protected=protected, responses=_ERRORS)
    add_page(app)
    _handle_errors(app)
    if options.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    paths = [route.path for route in app.routes if hasattr(route, "path")]
    paths += [f"/v1/cameras/{one.name}/events" for one in cameras.cameras]
    app.add_middleware(Counting, metrics=metrics, paths=frozenset(paths))
    return app


def _names(asked: Sequence[str], known: dict[str, KitFacts]) -> list[str]:
    """The kits of a request, in the order in which they are served, so that equal sets meet."""
    if list(asked) == [AUTO]:
        if not any(one.can_be_chosen for one in known.values()):
            raise refusals.no_choice(list(known))
        return [AUTO]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise refusals.unknown_kits(unknown[:10], list(known))
    return [name for name in known if not asked or name in asked]


def _check_levels(asked: Asked, known: Mapping[str, KitFacts]) -> None:
    unknown = [name for name, _ in asked.extras.levels if name not in known]
    if unknown:
        raise refusals.unknown_kits(unknown[:10], list(known))
    fixed = [name for name, _ in asked.extras.levels if known[name].level is None]
    if fixed:
        raise refusals.no_level(fixed[:10])


async def _finished(request: Request, ticket: Ticket, left: float) -> list[Outcome]:
    """Waits for the outcome, as long as the client is there and the deadline is not over."""
    future = asyncio.wrap_future(ticket.future)
    gone = asyncio.ensure_future(_disconnected(request))
    either: set[asyncio.Future[Any]] = {future, gone}
    try:
        await asyncio.wait(either, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        if future.done() and not future.cancelled():
            return future.result()
        if gone.done():
            raise _GoneError
        raise TimeoutError
    finally:
        gone.cancel()
        future.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _reply(outcomes: Sequence[Outcome], known: dict[str, KitFacts]) -> Response:
    entries = [_entry(place, one, known) for place, one in enumerate(outcomes)]
    if any(one.rows or one.is_foreign for one in outcomes):
        return json_reply({"images": entries})
    unread = all(entry["error"] for entry in entries)
    faults = [entry["error"] for entry in entries if entry["error"]] if unread else []
    faults += [fault for entry in entries for fault in entry["failed"].values()]
    return json_reply({"error": faults[0], "images": entries}, 422 if unread else 500)


def _entry(place: int, outcome: Outcome, known: dict[str, KitFacts]) -> dict[str, Any]:
    unread = outcome.unreadable
    return {
        "image": place,
        "image_sha256": outcome.content,
        "answers": {
            name: {
                "verdict": row["verdict"],
                "values": row,
                "receipt": {
                    **known[name].receipt(outcome.content),
                    "computed": outcome.computed.get(name),
                },
                **({"shown": outcome.shown[name]} if name in outcome.shown else {}),
            }
            for name, row in outcome.rows.items()
        },
        "failed": {
            name: fault_of(error, image=place)
            for name, error in outcome.failed.items()
            if unread is None
        },
        "error": None if unread is None else fault_of(unread, image=place),
        "remarks": {one.kind: float(one.value) for one in outcome.remarks},
        **({} if outcome.selected is None else {"selected": outcome.selected}),
        **({} if outcome.picture is None else {"picture": outcome.picture}),
    }


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refuse(_request: Request, error: RefusedError) -> Response:
        return json_reply({"error": fault_of(error.error)}, error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def odd(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part)[:80] for part in first["loc"])
        return await refuse(_request, refusals.malformed(f"{where}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def other(_request: Request, error: HTTPException) -> Response:
        told = UsageError(
            str(error.detail),
            whose="the request",
            fix="ask as /openapi.json describes it",
            code="usage/bad-request",
        )
        return json_reply({"error": fault_of(told)}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(_GoneError)
    @app.exception_handler(ClientDisconnect)
    async def nobody_there(_request: Request, _error: Exception) -> Response:
        return Response(status_code=_GONE)

    @app.exception_handler(Exception)
    async def unforeseen(_request: Request, error: Exception) -> Response:
        told = MoekitError(
            f"an unforeseen error: {type(error).__name__}",
            whose="the server",
            fix="look into the server's log, and report it",
            code="error/unforeseen",
        )
        return json_reply({"error": fault_of(told)}, 500)


def _as_json(facts: KitFacts, *, corrected: bool) -> dict[str, Any]:
    terms = facts.corrects if corrected else None
    return {
        "name": facts.name,
        "kit": facts.kit,
        "task": facts.task,
        "columns": ["verdict", *(name for name in facts.columns if name not in _NOT_SENT)],
        "backbone_sha256": facts.backbone_sha256,
        "kit_sha256": facts.kit_sha256,
        "settings_sha256": facts.settings_sha256,
        "settings": facts.settings,
        "disclaimer": facts.disclaimer,
        "caution": facts.caution,
        "can_be_chosen": facts.can_be_chosen,
        "level": facts.level,
        "corrects": None
        if terms is None
        else {
            "form": terms.form,
            "classes": list(terms.classes),
            "several": terms.several,
            "outlined": terms.outlined,
            "ignored": terms.ignored,
        },
    }


def _prefix(facts: KitFacts, others: Sequence[KitFacts]) -> dict[str, Any] | None:
    hashed = facts.prefix_sha256
    if hashed is None:
        return None
    alike = [one.name for one in others if one.prefix_sha256 == hashed and one is not facts]
    return {"sha256": hashed, "shared_with": alike}


def _state(word: str, good: bool) -> Response:
    return json_reply({"state": word}, 200 if good else 503)
