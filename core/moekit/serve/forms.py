"""Forms with files (RFC 7578), taken apart as they stream in; nothing is written to the disk."""

from __future__ import annotations

import dataclasses

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

_MOST_PARTS = 2000
_MOST_FIELD = 1024
"""Bytes of a field that is no file."""


class FormError(ValueError):
    """A form is not as the standard says, or goes beyond a bound."""


@dataclasses.dataclass(kw_only=True)
class Part:
    """A field or a file of a form.

    Attributes:
        name: Its name.
        is_file: Whether it is a file. What the file is called is not kept.
        content: Its bytes.
    """

    name: str
    is_file: bool
    content: bytearray = dataclasses.field(default_factory=bytearray)


class FormReader:
    """Takes a form apart.

    Args:
        content_type: The header of that name.

    Raises:
        FormError: It names no boundary.
    """

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise FormError("its type names no boundary")
        self._parts: list[Part] = []
        self._header = [bytearray(), bytearray()]
        self._disposition = b""
        self._is_whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Takes further bytes.

        Raises:
            FormError: They are none of a form.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise FormError("it breaks the rules of forms") from error

    def finish(self) -> list[Part]:
        """The parts in their order.

        Raises:
            FormError: The form is cut off.
        """
        if not self._is_whole:
            raise FormError("it is cut off: its last boundary is missing")
        return self._parts

    def _begin(self) -> None:
        if len(self._parts) == _MOST_PARTS:
            raise FormError(f"it has more than {_MOST_PARTS} parts")
        self._disposition = b""

    def _add(self, place: int, piece: bytes) -> None:
        self._header[place] += piece

    def _end_header(self) -> None:
        name, value = (bytes(piece) for piece in self._header)
        self._header = [bytearray(), bytearray()]
        if name.strip().lower() == b"content-disposition":
            self._disposition = value

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise FormError("a part of it has no name")
        name = options[b"name"].decode("utf-8", "replace")
        self._parts.append(Part(name=name, is_file=b"filename" in options))

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        if not part.is_file and len(part.content) + end - start > _MOST_FIELD:
            raise FormError(f"its field {part.name[:80]!r} has more than {_MOST_FIELD} bytes")
        part.content += data[start:end]

    def _end(self) -> None:
        self._is_whole = True
