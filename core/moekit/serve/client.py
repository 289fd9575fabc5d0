"""Asks a server, with the standard library only."""

from __future__ import annotations

import hashlib
import http.client
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from moekit.errors import DataError, MoekitError, UsageError
from moekit.files import parse_json, read_plain, read_text

MOST_IMAGES = 8
"""Images of a request."""
_MOST_BYTES = 16 * 2**20
_MOST_REPLY = 2**28
_TRIES = 10
_PATH = "/v1/answer"
_BUSY = (429, 503)


class Client:
    """Asks a server.

    Args:
        url: Its address, such as `http://127.0.0.1:8040`.
        token: A token of the server; None for none.
        timeout_s: Seconds that a request may take.
        sleep: Waits.

    Raises:
        UsageError: The address is none of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _parts_of(url)
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._sleep = sleep

    def answers(self, images: Sequence[Path], kits: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Yields an entry an image, in their order, with its path as `file`.

        Args:
            images: Image files.
            kits: Names of kits; all that are served if none is named.

        Raises:
            DataError: An image cannot be read here, or the server answers to another image.
            MoekitError: The server does not answer, or refuses the request.
        """
        for part in _parts(images):
            contents = [content for _, content in part]
            reply = self._ask(contents, kits)
            entries = reply.get("images", [])
            if len(entries) != len(part):
                raise _odd_reply(self._url, "answers to another number of images")
            for (path, content), entry in zip(part, entries, strict=True):
                check_is_its(entry, content, str(path))
                yield {"file": str(path), **entry}

    def _ask(self, contents: Sequence[bytes], kits: Sequence[str]) -> dict[str, Any]:
        body, media_type = form_of(contents, kits)
        for number in range(_TRIES):
            status, wait_s, reply = self._post(body, media_type)
            if status not in _BUSY or number == _TRIES - 1:
                break
            self._sleep(wait_s)
        if status == 200 or reply.get("images"):
            return reply
        error = reply.get("error")
        told = error if isinstance(error, dict) else {}
        raise MoekitError(
            f"the server refuses with {status}: {told.get('what', 'it does not say why')}",
            whose=f"{self._url} ({told.get('code', 'no code')})",
            fix=str(told.get("fix", "look into its log")),
            code="error/refused-by-server",
        )

    def _post(self, body: bytes, media_type: str) -> tuple[int, float, dict[str, Any]]:
        """Status, seconds to wait and body of a response."""
        headers = {"Content-Type": media_type, "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(  # noqa: S310 -- the scheme is checked
            f"{self._url}{_PATH}", data=body, headers=headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310
                return response.status, 0.0, self._parsed(response.read(_MOST_REPLY + 1))
        except urllib.error.HTTPError as error:
            with error:
                wait_s = _seconds(error.headers.get("Retry-After"))
                return error.code, wait_s, self._parsed(error.read(_MOST_REPLY + 1))
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise MoekitError(
                f"the server does not answer ({reason})",
                whose=self._url,
                fix="check the address, that `moekit serve` runs there, and that it takes images "
                "of this size",
                code="error/no-server",
            ) from error

    def _parsed(self, body: bytes) -> dict[str, Any]:
        try:
            found = parse_json(body.decode("utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise _odd_reply(self._url, "sends no JSON object")
        return found


class Line:
    """One connection, which stays open from request to request.

    Args:
        url: Address of the server.
        token: A token of the server; None for none.
        timeout_s: Seconds that a request may take.

    Raises:
        UsageError: The address is none of HTTP.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 120.0) -> None:
        parts = _parts_of(url)
        made = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._line = made(parts.netloc, timeout=timeout_s)
        self._path = f"{parts.path.rstrip('/')}{_PATH}"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._is_used = False

    def close(self) -> None:
        """Ends the connection."""
        self._line.close()

    def post(self, body: bytes, media_type: str) -> tuple[int, float, bytes]:
        """Status, seconds to wait and body of the response to a request.

        A server may close a connection that was idle; then it is asked again by another.

        Args:
            body: Of the request.
            media_type: Its content type.

        Raises:
            OSError: There is no response.
        """
        try:
            try:
                return self._once(body, media_type)
            except (ConnectionError, http.client.BadStatusLine):
                if not self._is_used:
                    raise
                self._drop()
                return self._once(body, media_type)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            if isinstance(error, OSError):
                raise
            raise ConnectionError(str(error)) from error

    def _once(self, body: bytes, media_type: str) -> tuple[int, float, bytes]:
        self._line.request("POST", self._path, body, {"Content-Type": media_type, **self._headers})
        response = self._line.getresponse()
        content = response.read(_MOST_REPLY)
        if response.will_close:
            self._drop()
        else:
            self._is_used = True
        return response.status, _seconds(response.getheader("Retry-After", "0")), content

    def _drop(self) -> None:
        self._line.close()
        self._is_used = False


def read_token(path: Path) -> str:
    """The first token of a file, as of `moekit serve --token-file`.

    Raises:
        UsageError: It cannot be read or holds none.
    """
    try:
        lines = [line.strip() for line in read_text(path, most=2**20).splitlines()]
    except (OSError, UnicodeDecodeError):
        lines = []
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UsageError(
            "the token file cannot be read, or holds no token",
            whose=str(path),
            fix="name a text file whose first line is a token of the server",
            code="usage/bad-token-file",
        )
    return found[0]


def _parts(images: Sequence[Path]) -> Iterator[list[tuple[Path, bytes]]]:
    """Images with their bytes, as many as make a request."""
    part: list[tuple[Path, bytes]] = []
    size = 0
    for path in images:
        content = image_bytes(path)
        if part and (len(part) == MOST_IMAGES or size + len(content) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append((path, content))
        size += len(content)
    if part:
        yield part


def _parts_of(url: str) -> urllib.parse.SplitResult:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"{url} is no address of a server",
            whose="URL",
            fix="give one such as http://127.0.0.1:8040",
            code="usage/bad-url",
        )
    return parts


def image_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return read_plain(path)
    except OSError as error:
        raise DataError(
            f"the image cannot be read ({error.strerror or error})",
            whose=str(path),
            fix="check the path, or leave it out",
            code="data/unreadable",
        ) from error


def form_of(contents: Sequence[bytes], kits: Sequence[str]) -> tuple[bytes, str]:
    """The body of a request and its type. No name of a file is in it."""
    boundary = secrets.token_hex(24)
    pieces: list[bytes] = []
    for kit in kits:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="kits"\r\n\r\n'
        pieces += [head.encode(), kit.encode(), b"\r\n"]
    for content in contents:
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="image"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        pieces += [head.encode(), content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/form-data; boundary={boundary}"


def check_is_its(entry: Any, content: bytes, whose: str) -> None:
    """Refuses an entry that belongs to another image.

    Args:
        entry: What a server answers to an image.
        content: The bytes of the image.
        whose: What the image is called.

    Raises:
        DataError: It does.
    """
    own = hashlib.sha256(content).hexdigest()
    shown = {entry.get("image_sha256")} if isinstance(entry, dict) else set()
    if shown:
        shown |= {one["receipt"]["image_sha256"] for one in entry.get("answers", {}).values()}
    if shown != {own}:
        raise DataError(
            "the server answers to another image than this one",
            whose=whose,
            fix="do not use its answers; report it to those who run the server",
            code="data/swapped-answer",
        )


def _odd_reply(url: str, what: str) -> MoekitError:
    return MoekitError(
        f"the server {what}",
        whose=url,
        fix="check that the address is that of `moekit serve`, and the versions",
        code="error/odd-reply",
    )


def _seconds(text: str | None) -> float:
    try:
        return min(60.0, max(0.0, float(text or "")))
    except ValueError:
        return 1.0
