"""Whether a decoder of JPEG had all it needs, which it tells nobody (ITU-T T.81).

Where coded pixels end too early a decoder makes up the rest. It reads on in what is put there, so
that other bytes before the marker of the end make other pixels; behind whole ones they are passed
over. A scan that is missing as a whole shows in the list of scans: those of a progressive file
bring each coefficient to its full precision.
"""

from __future__ import annotations

import re

_FILL, _END, _SCAN = 0xFF, 0xD9, 0xDA
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_ARITHMETIC = (0xC9, 0xCA)
"""Coders of these leave out zeros at the end, which the decoder puts there (T.81, D.1.8)."""
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""
_NEXT = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The marker after coded data; FF 00 is a coded FF, D0 to D7 are restarts."""
_COEFFICIENTS = 64
FILLER = bytes((37 * number * number + 11 * number) % 251 for number in range(1, 97))
"""Bytes without FF that are no end of anything."""


def jpeg_with_other_end(content: bytes) -> bytes | None:
    """A file with other bytes behind its coded pixels; None if a scan is missing as a whole.

    The same file if its markers cannot be followed, of which the decoder says what is wrong.
    """
    try:
        end, is_whole = _follow(content)
    except IndexError:
        return content
    if not is_whole:
        return None
    return content if end is None else content[:end] + FILLER + content[end:]


def _follow(content: bytes) -> tuple[int | None, bool]:
    """Where the coded pixels end, and whether the scans are all that there must be."""
    components: set[int] = set()
    seen: set[int] = set()
    missing: dict[tuple[int, int], int] = {}
    is_progressive = False
    coded_end: int | None = None
    at = 2
    while at + 2 <= len(content) and content[at] == _FILL:
        marker = content[at + 1]
        if marker == _END:
            if is_progressive:
                every = ((one, place) for one in components for place in range(_COEFFICIENTS))
                return coded_end, not any(missing.get(one, 1) for one in every)
            return coded_end, seen >= components
        if marker in _ARITHMETIC:
            return None, True
        if marker == _FILL or marker in _ALONE:
            at += 1 if marker == _FILL else 2
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        field = content[at + 4 : end]
        if marker in _SEQUENTIAL or marker == _PROGRESSIVE:
            is_progressive = marker == _PROGRESSIVE
            components = {field[6 + 3 * number] for number in range(field[5])}
        elif marker == _SCAN:
            used = [field[1 + 2 * number] for number in range(field[0])]
            seen.update(used)
            first, last, bits = field[-3:]
            for number in used:
                missing |= {(number, place): bits & 15 for place in range(first, last + 1)}
            after = _NEXT.search(content, end)
            end = coded_end = after.start() if after else len(content)
            while content[coded_end - 1] == _FILL:  # bytes that fill up to the marker (B.1.1.2)
                coded_end -= 1
        at = end
    return None, True
