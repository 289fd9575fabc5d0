"""Counts responses, whoever made them."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moekit.serve.metrics import ServeMetrics

_OTHER = "other"


class Counting:
    """Counts the responses of an application by path and status.

    Args:
        app: The application.
        metrics: Where they are counted.
        paths: Those that are counted by name; all others count as one, so that no client can make
            figures without end.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServeMetrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a request on and counts its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else _OTHER
        begun = False

        async def counted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._metrics.response(path, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:  # it becomes a response further out
            if not begun:
                self._metrics.response(path, 500)
            raise
