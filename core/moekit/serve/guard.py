"""Who may ask: by token, by the name that the server was called by, and by the calling page."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

from moekit.serve import refusals
from moekit.serve.options import ServeOptions, is_own
from moekit.serve.tokens import Tokens


class Guard:
    """Refuses requests that may not be made.

    A server without tokens must not answer pages of other sites, which a browser on this machine
    may show. Such a page can send requests from here, and can make its own name lead to this
    machine (DNS rebinding).

    Args:
        options: Whether the server is unprotected, and which sites may read answers.
        tokens: What clients must show; None for nothing.
    """

    def __init__(self, options: ServeOptions, tokens: Tokens | None) -> None:
        self._options = options
        self._tokens = tokens

    def check(self, headers: Mapping[str, str]) -> None:
        """Checks the headers of a request.

        Raises:
            RefusedError: It shows no token of the server, or comes from a page of another site.
        """
        if self._tokens is not None:
            if not self._tokens.allow(headers.get("authorization")):
                raise refusals.unauthorised()
            return
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._options.unprotected and not is_own(_name_of(f"//{host}")):
            raise refusals.other_host(host)
        if origin is None or origin in self._options.cors:
            return
        if origin.partition("://")[2] != host:
            raise refusals.other_origin(origin)


def _name_of(url: str) -> str:
    try:
        return urllib.parse.urlsplit(url).hostname or ""
    except ValueError:
        return ""
