"""The page at `/`: files of this package, read once, handed out with strict headers."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Response

_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No script can turn a text into elements, by mistake or otherwise.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}
"""What each of the page's files is sent with."""


def page_files() -> dict[str, tuple[bytes, str]]:
    """The page's files: by name their bytes and media type."""
    folder = importlib.resources.files("moekit.serve.page") / "files"
    found = {}
    for one in folder.iterdir():
        suffix = one.name[one.name.rfind(".") :]
        if suffix in _TYPES:
            found[one.name] = one.read_bytes(), _TYPES[suffix]
    return found


def add_page(app: FastAPI) -> None:
    """Adds `/` and the files that it names, under `/page/`.

    They hold nothing that is secret and need no token; what they ask for does.
    """
    for name, (content, media) in page_files().items():
        path = "/" if name == _INDEX else f"/page/{name}"
        app.add_api_route(path, _sends(content, media), methods=["GET"], include_in_schema=False)


def _sends(content: bytes, media: str) -> Callable[[], Coroutine[Any, Any, Response]]:
    async def send() -> Response:
        return Response(content, media_type=media, headers=HEADERS)

    return send
