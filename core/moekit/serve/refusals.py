"""Requests that are refused: which status they get, and the error that says why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from moekit.errors import MoekitError, UsageError

_REQUEST = "the request"


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        status: The HTTP status.
        error: What is wrong and what to do.
        headers: Headers of the response.
    """

    def __init__(
        self, status: int, error: MoekitError, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error.what)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


def unauthorised() -> RefusedError:
    """The request shows no token, or a wrong one."""
    error = UsageError(
        "a token is missing or wrong",
        whose="the header Authorization",
        fix="send one of the server's tokens: Authorization: Bearer TOKEN",
        code="usage/no-token",
    )
    return RefusedError(401, error, headers={"WWW-Authenticate": "Bearer"})


def other_host(name: str) -> RefusedError:
    """The server was called by a name that is not this machine's own."""
    error = UsageError(
        f"the server was called by the name {name[:80]!r}",
        whose="the header Host",
        fix="call it as 127.0.0.1 or localhost; or start it with --token-file or --unprotected",
        code="usage/other-host",
    )
    return RefusedError(421, error)


def other_origin(origin: str) -> RefusedError:
    """A page of another site made the request."""
    error = UsageError(
        f"a page of {origin[:80]!r} made the request",
        whose="the header Origin",
        fix="start the server with --cors ORIGIN if that page may ask",
        code="usage/other-origin",
    )
    return RefusedError(403, error)


def malformed(what: str) -> RefusedError:
    """The body is not what the interface describes."""
    error = UsageError(
        what,
        whose=_REQUEST,
        fix="send a body as /openapi.json describes it",
        code="usage/bad-request",
    )
    return RefusedError(422, error)


def not_media(given: str) -> RefusedError:
    """The body is of another media type."""
    error = UsageError(
        f"the body is of the type {given[:80]!r}" if given else "the body has no type",
        whose="the header Content-Type",
        fix="send multipart/form-data or application/json",
        code="usage/bad-media-type",
    )
    return RefusedError(415, error)


def too_large(most: int) -> RefusedError:
    """The body has more bytes than a request may have."""
    error = UsageError(
        f"the body has more than {most:,} bytes",
        whose=_REQUEST,
        fix="send fewer images a request",
        code="usage/too-large",
    )
    return RefusedError(413, error, headers={"Connection": "close"})


def too_many(given: int, most: int) -> RefusedError:
    """The body holds more images than a request may have."""
    error = UsageError(
        f"the request has {given} images, at most {most} are answered at once",
        whose=_REQUEST,
        fix="send fewer images a request",
        code="usage/too-many-images",
    )
    return RefusedError(413, error)


def unknown_kits(names: Sequence[str], known: Sequence[str]) -> RefusedError:
    """The request names kits that are not served."""
    error = UsageError(
        f"no kit is called {', '.join(repr(name[:80]) for name in names)}",
        whose=_REQUEST,
        fix=f"name one of: {', '.join(known)}",
        code="usage/unknown-name",
    )
    return RefusedError(404, error)


def unknown_cameras(names: Sequence[str], known: Sequence[str]) -> RefusedError:
    """The request names cameras that the server does not have."""
    error = UsageError(
        f"no camera is called {', '.join(repr(name[:80]) for name in names)}",
        whose=_REQUEST,
        fix=f"name one of: {', '.join(known)}" if known else "start the server with --camera",
        code="usage/unknown-name",
    )
    return RefusedError(404, error)


def no_level(names: Sequence[str]) -> RefusedError:
    """The request moves a number that kits do not have."""
    error = UsageError(
        f"nothing can be moved of {', '.join(repr(name[:80]) for name in names)}",
        whose=_REQUEST,
        fix="leave out 'levels' of kits whose 'level' in /v1/kits is null",
        code="usage/no-level",
    )
    return RefusedError(422, error)


def not_corrected(kit: str, task: str) -> RefusedError:
    """The kit's answers cannot be corrected."""
    error = UsageError(
        f"the kit {kit[:80]!r} takes no corrections: its task is {task}",
        whose=_REQUEST,
        fix="name a kit whose 'corrects' in /v1/kits is not null",
        code="usage/not-for-task",
    )
    return RefusedError(422, error)


def unusable(error: MoekitError) -> RefusedError:
    """What the request holds cannot be used."""
    return RefusedError(422, error)


def no_space(error: MoekitError) -> RefusedError:
    """What the request holds cannot be written."""
    return RefusedError(507, error)


def unknown_image() -> RefusedError:
    """No listed image has this hash, or its file is gone or was changed."""
    error = UsageError(
        "no image of the list has this hash, or its file is gone or was changed",
        whose=_REQUEST,
        fix="ask for one that /v1/review lists; or make the list again by `moekit next`",
        code="usage/unknown-name",
    )
    return RefusedError(404, error)


def full(wait_s: float) -> RefusedError:
    """There is no room for the request.

    Args:
        wait_s: Seconds after which there probably is.
    """
    seconds = max(1, min(60, math.ceil(wait_s)))
    error = UsageError(
        "the server has as much work as it takes",
        whose="the queue",
        fix=f"ask again in {seconds} s",
        code="usage/queue-full",
    )
    return RefusedError(429, error, headers={"Retry-After": str(seconds)})


def closing() -> RefusedError:
    """The server is about to end."""
    error = UsageError(
        "the server is about to end",
        whose="the server",
        fix="ask again once it is started again",
        code="usage/closing",
    )
    return RefusedError(503, error, headers={"Retry-After": "5"})


def too_slow(deadline_s: float) -> RefusedError:
    """The body did not arrive in time."""
    error = UsageError(
        f"the body did not arrive within {deadline_s:g} s",
        whose=_REQUEST,
        fix="send smaller images, or fewer",
        code="usage/slow-upload",
    )
    return RefusedError(408, error, headers={"Connection": "close"})


def overdue(deadline_s: float) -> RefusedError:
    """The deadline passed before the answers were there."""
    error = UsageError(
        f"there was no answer within {deadline_s:g} s",
        whose=_REQUEST,
        fix="send fewer images, ask with a later deadline, or start the server with --deadline",
        code="usage/deadline",
    )
    return RefusedError(504, error)


def no_choice(served: Sequence[str]) -> RefusedError:
    """A kit is to be chosen, and no run that is served can be."""
    error = UsageError(
        "no kit that is served says what its pictures look like, so none can be chosen",
        whose=_REQUEST,
        fix=f"name kits: {', '.join(served)}; or adapt them again with this version, and serve "
        "them by torch",
        code="usage/no-domain",
    )
    return RefusedError(422, error)
