"""Whether the coded data of a JPEG hold all its pixels, by following its codes (ITU-T T.81).

A decoder makes up what is missing: after the end of the data it gives grey, and says so to nobody.
Sequential scans are followed code by code, without a pixel. Of progressive ones only their list is
looked at, which must bring each coefficient to its full precision: codes of a later scan have their
length from the values of earlier ones.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

_FILL, _END, _SCAN, _TABLES, _RESTART = 0xFF, 0xD9, 0xDA, 0xC4, 0xDD
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""
_NEXT = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The marker after coded data; FF 00 is a coded FF, D0 to D7 are restarts."""
_RESTARTS = re.compile(rb"\xff+[\xd0-\xd7]")
_CODE_BITS, _BLOCK = 16, 64

Table = list[tuple[int, int]]
"""By the next 16 bits: how many bits the code and its value take, and how many coefficients."""


class _LostError(Exception):
    """The codes cannot be followed to the last pixel."""


@dataclasses.dataclass
class _Component:
    across: int
    down: int


@dataclasses.dataclass
class _Frame:
    """What the header says: the size and the components by their ids."""

    height: int
    width: int
    is_progressive: bool
    components: dict[int, _Component]

    @property
    def most(self) -> tuple[int, int]:
        """The greatest sampling factors, down and across."""
        every = self.components.values()
        return max(one.down for one in every), max(one.across for one in every)


def lacks_pixels(content: bytes) -> bool:
    """Whether codes are missing, or are none.

    False as well for what is not followed: other kinds of JPEG, and headers that say nothing.
    """
    try:
        return _lacks(content)
    except _LostError:
        return True
    except (IndexError, KeyError, ValueError, ZeroDivisionError):
        return False  # a header that the decoder judges


def _lacks(content: bytes) -> bool:
    frame: _Frame | None = None
    tables = _Tables()
    interval, at = 0, 2
    precise: dict[tuple[int, int], int] = {}
    seen: set[int] = set()
    while at + 2 <= len(content) and content[at] == _FILL:
        marker = content[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker == _END:
            break
        if marker in _ALONE:
            at += 2
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        field = content[at + 4 : end]
        if marker in _SEQUENTIAL or marker == _PROGRESSIVE:
            frame = _read_frame(field, marker == _PROGRESSIVE)
        elif 0xC0 <= marker <= 0xCF and marker not in (_TABLES, 0xC8, 0xCC):
            return False
        elif marker == _TABLES:
            tables.note(field)
        elif marker == _RESTART:
            interval = int.from_bytes(field[:2], "big")
        elif marker == _SCAN:
            if frame is None:
                return False
            after = _NEXT.search(content, end)
            stop = after.start() if after else len(content)
            used = [(field[1 + 2 * n], field[2 + 2 * n]) for n in range(field[0])]
            seen.update(number for number, _ in used)
            if frame.is_progressive:
                _note_precision(field, used, precise)
            else:
                _follow(content[end:stop], frame, used, tables, interval)
            end = stop
        at = end
    if frame is None:
        return False
    if frame.is_progressive:
        every = ((number, place) for number in frame.components for place in range(_BLOCK))
        return any(precise.get(one, 1) > 0 for one in every)
    return seen != frame.components.keys()


def _read_frame(field: bytes, is_progressive: bool) -> _Frame:
    height, width = (int.from_bytes(field[n : n + 2], "big") for n in (1, 3))
    parts = [field[6 + 3 * n : 9 + 3 * n] for n in range(field[5])]
    components = {one[0]: _Component(across=one[1] >> 4, down=one[1] & 15) for one in parts}
    if not height or not width:
        raise ValueError("no size")
    return _Frame(height, width, is_progressive, components)


class _Tables:
    """The tables of codes that are valid now, by their class (0 for DC, 1 for AC) and number."""

    def __init__(self) -> None:
        self._coded: dict[tuple[int, int], bytes] = {}
        self._made: dict[bytes, Table] = {}

    def note(self, field: bytes) -> None:
        """Takes what a field defines (B.2.4.2)."""
        at = 0
        while at + 17 <= len(field):
            end = at + 17 + sum(field[at + 1 : at + 17])
            self._coded[field[at] >> 4, field[at] & 15] = field[at:end]
            at = end

    def of(self, kind: int, number: int) -> Table:
        """One of them."""
        coded = self._coded[kind, number]
        if coded not in self._made:
            self._made[coded] = _table(kind, coded[1:17], coded[17:])
        return self._made[coded]


def _table(kind: int, counts: bytes, symbols: bytes) -> Table:
    table: Table = []
    lengths = [length for length, count in enumerate(counts, 1) for _ in range(count)]
    for length, symbol in zip(lengths, symbols, strict=False):
        table += [_entry(kind, length, symbol)] * (1 << (_CODE_BITS - length))
    return table + [(0, 0)] * ((1 << _CODE_BITS) - len(table))


def _entry(kind: int, length: int, symbol: int) -> tuple[int, int]:
    if kind == 0:
        return length + symbol, 1
    run, bits = symbol >> 4, symbol & 15
    if bits:
        return length + bits, run + 1
    return length, 16 if run == 15 else _BLOCK


def _note_precision(
    field: bytes, used: list[tuple[int, int]], precise: dict[tuple[int, int], int]
) -> None:
    """Keeps how many low bits of each coefficient are still to come after a scan (G.1.1.1)."""
    first, last, bits = field[-3:]
    for number, _ in used:
        precise |= {(number, place): bits & 15 for place in range(first, last + 1)}


def _follow(
    coded: bytes,
    frame: _Frame,
    used: list[tuple[int, int]],
    tables: _Tables,
    interval: int,
) -> None:
    """Follows one scan.

    Raises:
        _LostError: It ends early, or a code is none.
    """
    units = _units(frame, [number for number, _ in used])
    blocks = []
    for number, selected in used:
        one = frame.components[number]
        count = one.across * one.down if len(used) > 1 else 1
        blocks += [(tables.of(0, selected >> 4), tables.of(1, selected & 15))] * count
    parts = _RESTARTS.split(coded) if interval else [coded]
    shares = _shares(units, interval)
    if len(parts) < len(shares):
        raise _LostError
    for part, share in zip(parts, shares, strict=False):
        _follow_part(part.replace(b"\xff\x00", b"\xff"), share, blocks)


def _units(frame: _Frame, numbers: list[int]) -> int:
    """How many units a scan has: of all components together, or blocks of one (A.2)."""
    down, across = frame.most
    if len(numbers) > 1:
        return _ceil(frame.height, 8 * down) * _ceil(frame.width, 8 * across)
    one = frame.components[numbers[0]]
    height = _ceil(frame.height * one.down, down)
    return _ceil(height, 8) * _ceil(_ceil(frame.width * one.across, across), 8)


def _ceil(number: int, by: int) -> int:
    return -(-number // by)


def _shares(units: int, interval: int) -> list[int]:
    if not interval:
        return [units]
    whole, rest = divmod(units, interval)
    return [interval] * whole + [rest] * (rest > 0)


def _follow_part(data: bytes, units: int, blocks: list[tuple[Table, Table]]) -> None:
    places, bits = _words(data), 8 * len(data)
    at = 0
    for _ in range(units):
        for first, others in blocks:
            step, _ = first[places[at >> 3] >> (8 - (at & 7)) & 0xFFFF]
            if not step:
                raise _LostError
            at += step
            left = _BLOCK - 1
            while left > 0:
                if at > bits:
                    raise _LostError
                step, run = others[places[at >> 3] >> (8 - (at & 7)) & 0xFFFF]
                if not step:
                    raise _LostError
                at += step
                left -= run
    if at > bits:
        raise _LostError


def _words(data: bytes) -> memoryview:
    """The 24 bits that begin at each byte, and some beyond the end."""
    bytes_N = np.frombuffer(data + bytes(8), dtype=np.uint8).astype(np.uint32)
    words_N = bytes_N[:-2] << 16 | bytes_N[1:-1] << 8 | bytes_N[2:]
    return np.ascontiguousarray(words_N).data
