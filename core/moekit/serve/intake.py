"""Bodies of requests: read as they stream in, within bounds, and taken apart."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from moekit.errors import MoekitError
from moekit.json_text import parse_json
from moekit.serve import refusals
from moekit.serve.extras import NOTHING, Extras
from moekit.serve.forms import FormError, FormReader, Part
from moekit.serve.schema import AnswerRequest

Model = TypeVar("Model", bound=BaseModel)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks for.

    Attributes:
        images: The images' bytes, one at least.
        kits: Names of kits; empty for all.
        deadline_s: Seconds that it may take, as it says itself; None if it does not.
        extras: What it asks for besides the answers.
    """

    images: tuple[bytes, ...]
    kits: tuple[str, ...]
    deadline_s: float | None
    extras: Extras = NOTHING


class Intake:
    """Reads the bodies of requests.

    Args:
        most_bytes: Most bytes of a body.
        most_images: Most images of a body.
        most_held: Most bytes of all bodies that are held at once.
    """

    def __init__(self, *, most_bytes: int, most_images: int, most_held: int) -> None:
        self._most_bytes = most_bytes
        self._most_images = most_images
        self._most_held = most_held
        self._held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request, *, timeout_s: float) -> AsyncGenerator[Asked]:
        """Yields what a request asks for. Its body counts as held until the block ends.

        Args:
            request: Its body is not read yet.
            timeout_s: Seconds within which the body must arrive.

        Raises:
            RefusedError: The body is too large or too slow, of another type or malformed, or holds
                too many images; or too much is held already.
        """
        with self._holding() as hold:
            try:
                async with asyncio.timeout(timeout_s):
                    asked = await self._asked(request, hold)
            except TimeoutError as error:
                raise refusals.too_slow(timeout_s) from error
            if not asked.images:
                raise refusals.malformed("the body holds no image")
            if len(asked.images) > self._most_images:
                raise refusals.too_many(len(asked.images), self._most_images)
            yield asked

    @contextlib.asynccontextmanager
    async def read_json(self, request: Request, *, timeout_s: float) -> AsyncGenerator[bytes]:
        """Yields a body of JSON as it came, within the same bounds.

        Args:
            request: Its body is not read yet.
            timeout_s: Seconds within which the body must arrive.

        Raises:
            RefusedError: As of `read`.
        """
        with self._holding() as hold:
            try:
                async with asyncio.timeout(timeout_s):
                    if self._media(request) != "application/json":
                        raise refusals.not_media(request.headers.get("content-type", ""))
                    body = await self._body(request, hold)
            except TimeoutError as error:
                raise refusals.too_slow(timeout_s) from error
            yield body

    @contextlib.contextmanager
    def _holding(self) -> Iterator[_Hold]:
        hold = _Hold(self)
        try:
            yield hold
        finally:
            self._held -= hold.bytes

    def take(self, hold: _Hold, count: int) -> None:
        """Counts further bytes of a body.

        Raises:
            RefusedError: They are too many.
        """
        if hold.bytes + count > self._most_bytes:
            raise refusals.too_large(self._most_bytes)
        if self._held + count > self._most_held:
            raise refusals.full(1.0)
        hold.bytes += count
        self._held += count

    async def _asked(self, request: Request, hold: _Hold) -> Asked:
        media = self._media(request)
        if media == "application/json":
            return await run_in_threadpool(_from_json, await self._body(request, hold))
        return await self._from_form(request, hold)

    def _media(self, request: Request) -> str:
        """The type of a body that is announced to be of a known type and of a size that is taken.

        Raises:
            RefusedError: It is not.
        """
        kind = request.headers.get("content-type", "")
        media = kind.partition(";")[0].strip().lower()
        if media not in ("application/json", "multipart/form-data"):
            raise refusals.not_media(kind)
        if request.headers.get("content-length", "0").isdecimal():
            announced = int(request.headers.get("content-length", "0"))
            if announced > self._most_bytes:
                raise refusals.too_large(self._most_bytes)
        return media

    async def _body(self, request: Request, hold: _Hold) -> bytes:
        body = bytearray()
        async for chunk in self._stream(request, hold):
            body += chunk
        return bytes(body)

    async def _stream(self, request: Request, hold: _Hold) -> AsyncGenerator[bytes]:
        async for chunk in request.stream():
            self.take(hold, len(chunk))
            yield chunk

    async def _from_form(self, request: Request, hold: _Hold) -> Asked:
        try:
            reader = FormReader(request.headers["content-type"])
            async for chunk in self._stream(request, hold):
                reader.feed(chunk)
            return _from_parts(reader.finish())
        except FormError as error:
            raise refusals.malformed(f"the form cannot be read: {error}") from error


class _Hold:
    """The bytes of one body."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.bytes = 0


def _from_parts(parts: Sequence[Part]) -> Asked:
    images: list[bytes] = []
    kits: list[str] = []
    deadline_s: float | None = None
    extras: dict[str, Any] = {}
    levels: dict[str, float] = {}
    for part in parts:
        if part.name == "images" and part.is_file:
            images.append(bytes(part.content))
            part.content.clear()
        elif part.name == "kits" and not part.is_file:
            kits.append(part.content.decode("utf-8", "replace"))
        elif part.name == "deadline_s" and not part.is_file:
            if deadline_s is not None:
                raise refusals.malformed("the form has two fields 'deadline_s'")
            deadline_s = _seconds(part.content)
        elif part.name in ("overlays", "routing", "drafts") and not part.is_file:
            extras[part.name] = _truth(part)
        elif part.name == "levels" and not part.is_file:
            levels |= _level(part)
        else:
            kind = "file" if part.is_file else "field"
            raise refusals.malformed(
                f"the form has the {kind} {part.name[:80]!r}; it takes files called 'images', and "
                "fields called 'kits', 'deadline_s', 'overlays', 'routing', 'drafts' and 'levels'"
            )
    return Asked(
        images=tuple(images),
        kits=tuple(kits),
        deadline_s=deadline_s,
        extras=Extras(**extras, levels=tuple(sorted(levels.items()))),
    )


def _truth(part: Part) -> bool:
    text = bytes(part.content)
    if text not in (b"true", b"false"):
        raise refusals.malformed(f"the field {part.name!r} is neither true nor false")
    return text == b"true"


def _level(part: Part) -> dict[str, float]:
    kit, _, text = part.content.decode("utf-8", "replace").rpartition("=")
    try:
        level = float(text)
    except ValueError:
        level = -1.0
    if not kit or not 0 <= level <= 1:
        raise refusals.malformed("a field 'levels' is not KIT=NUMBER with a number from 0 to 1")
    return {kit: level}


def _seconds(text: bytes | bytearray) -> float:
    try:
        seconds = float(bytes(text))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise refusals.malformed("deadline_s is no number of seconds above 0")
    return seconds


def parsed(body: bytes, model: type[Model]) -> Model:
    """A body of JSON as a model of the interface.

    Raises:
        RefusedError: It is no JSON, or not as the model says.
    """
    try:
        return model.model_validate(parse_json(body.decode("utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:80] for part in first["loc"]) or "the body"
        raise refusals.malformed(f"{where}: {first['msg']}") from error
    except (ValueError, MoekitError) as error:  # a UnicodeDecodeError is a ValueError
        raise refusals.malformed("the body is not JSON in UTF-8") from error


def from_base64(text: str, where: str) -> bytes:
    """The bytes of a field.

    Raises:
        RefusedError: It is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refusals.malformed(f"{where} is no base64") from error


def _from_json(body: bytes) -> Asked:
    asked = parsed(body, AnswerRequest)
    images = [from_base64(text, f"images.{place}") for place, text in enumerate(asked.images)]
    extras = Extras(
        overlays=asked.overlays,
        routing=asked.routing,
        drafts=asked.drafts,
        levels=tuple(sorted(asked.levels.items())),
    )
    return Asked(
        images=tuple(images),
        kits=tuple(asked.kits),
        deadline_s=asked.deadline_s,
        extras=extras,
    )
