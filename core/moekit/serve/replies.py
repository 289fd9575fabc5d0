"""Replies in JSON, as all paths of the service send them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response

from moekit.json_text import to_json


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A reply in JSON. A name that is no text stays an escape, as in files of other commands.

    Args:
        value: Ready for JSON.
        status: The HTTP status.
        headers: Further headers.
    """
    body = to_json(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, status_code=status, media_type="application/json", headers=headers)
