"""The HTTP interface of cameras: what is known of them, and their answers as they come."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.params import Depends
from fastapi.responses import Response, StreamingResponse

from moekit.json_text import to_json
from moekit.serve import refusals
from moekit.serve.schema import inlined
from moekit.serve.service import Outcome
from moekit.serve.streams.loop import Event, Listener, Streams, camera_facts
from moekit.serve.streams.schema import CameraEvent, CamerasReply

_MOST_LISTENERS = 64
_HELD = 4
"""Events that wait for one who listens; a slow one loses the oldest."""
_BEAT_S = 15.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_OPENAPI: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": inlined(CameraEvent)}}}
}
Entry = Callable[[Outcome], dict[str, Any]]


def add_streams(
    app: FastAPI,
    streams: Streams,
    *,
    entry: Entry,
    protected: Sequence[Depends],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    """Adds the paths of cameras.

    Args:
        app: The application.
        streams: The cameras.
        entry: Makes JSON of an outcome, as `ImageAnswers`.
        protected: Dependencies of each path.
        responses: The errors of each path.
    """
    names = [camera.name for camera in streams.cameras]

    @app.get(
        "/v1/cameras", response_model=CamerasReply, responses=responses, dependencies=protected
    )
    async def cameras() -> Response:
        """The cameras, with counts and latencies."""
        return Response(to_json({"cameras": camera_facts(streams)}), media_type="application/json")

    @app.get(
        "/v1/cameras/events",
        response_class=StreamingResponse,
        responses={**responses, **_OPENAPI},
        dependencies=protected,
    )
    async def all_events(
        camera: Annotated[list[str] | None, Query(max_length=64)] = None, overlays: bool = False
    ) -> Response:
        """Answers of several cameras as server-sent events; of all if none is named."""
        return _events(streams, _known(camera or names, names), overlays, entry)

    @app.get(
        "/v1/cameras/{name}/events",
        response_class=StreamingResponse,
        responses={**responses, **_OPENAPI},
        dependencies=protected,
    )
    async def events(name: str, overlays: bool = False) -> Response:
        """Answers of a camera as server-sent events, as they come."""
        return _events(streams, _known([name], names), overlays, entry)


def _known(asked: Sequence[str], names: Sequence[str]) -> frozenset[str]:
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise refusals.unknown_cameras(unknown[:10], names)
    return frozenset(asked)


def _events(streams: Streams, names: frozenset[str], overlays: bool, entry: Entry) -> Response:
    if streams.listening >= _MOST_LISTENERS:
        raise refusals.full(10.0)
    events = _event_lines(streams, names, overlays, entry)
    return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)


async def _event_lines(
    streams: Streams, names: frozenset[str], overlays: bool, entry: Entry
) -> AsyncGenerator[str]:
    mailbox = _Mailbox(asyncio.get_running_loop())
    listener = Listener(cameras=names, overlays=overlays, offer=mailbox.offer)
    with streams.listen(listener):
        yield ": answers follow\n\n"
        while True:
            try:
                async with asyncio.timeout(_BEAT_S):
                    event = await mailbox.take()
            except TimeoutError:
                yield ": nothing new\n\n"  # so that proxies keep the connection
                continue
            if event is None:
                return
            text = await asyncio.to_thread(_text, event, overlays, entry)
            yield f"event: answer\nid: {event.camera}-{event.frame}\ndata: {text}\n\n"


def _text(event: Event, overlays: bool, entry: Entry) -> str:
    outcome = event.outcome
    if not overlays:  # others may have asked for them
        outcome = dataclasses.replace(outcome, picture=None, shown={})
    return to_json(
        {
            "camera": event.camera,
            "frame": event.frame,
            "dropped": event.dropped,
            "latency_s": event.latency_s,
            "answer": entry(outcome),
        }
    )


class _Mailbox:
    """Hands events of other threads to a coroutine; holds the newest few of each camera."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: collections.deque[Event] = collections.deque()
        self._over = False
        self._news = asyncio.Event()

    def offer(self, event: Event | None) -> None:
        """See `Listener`."""
        try:
            self._loop.call_soon_threadsafe(self._put, event)
        except RuntimeError:  # the loop is closed
            return

    async def take(self) -> Event | None:
        """The oldest event that waits; None at the end."""
        while not self._waiting and not self._over:
            self._news.clear()
            await self._news.wait()
        return None if self._over else self._waiting.popleft()

    def _put(self, event: Event | None) -> None:
        if event is None:
            self._over = True
        else:
            same = [one for one in self._waiting if one.camera == event.camera]
            if len(same) >= _HELD:
                self._waiting.remove(same[0])
            self._waiting.append(event)
        self._news.set()
