"""Draws damaged tables, JSON, TOML and lists of lines."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from hypothesis import strategies as st

from tests.benchmarks.fuzzing.draw_bytes import Draw, damaged

LONG = "9" * 5000
WORDS = (
    *("", " ", "0", "1", "-1", "0.5", "1e999", "nan", "inf", "-inf", LONG, "1_0", "٣", "²", "0x10"),
    *("a" * 300, "a" * 140_000, "../x", "/etc/passwd", "C:\\x", "x\\y", ".", "..", "CON", "~"),
    *("\0", "\x1b[31m", "\u202e", "\ufeff", "\ud800", "é", "e\u0301", "=1+1", "'", '"', "a\nb"),
    *("true", "None", "null", "train", "test", "good", "|", "a|b", ",", ";", "\t", "\r", "?", "*"),
)
ATOMS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, -0.0]),
    st.sampled_from([math.nan, math.inf]),
    st.sampled_from(WORDS),
    st.text(max_size=8),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
DEEP = 100_000


def encoded(text: str) -> bytes:
    """UTF-8, with what has no such form as the bytes that some writers make of it."""
    return text.encode("utf-8", "surrogatepass")


def words(draw: Draw) -> str:
    """What stands in a cell or a line."""
    return str(draw(st.sampled_from(WORDS) | st.text(max_size=12)))


def json_text(draw: Draw, content: bytes) -> bytes:
    """JSON with a value, a key, or the text itself changed."""
    how = draw(st.integers(0, 11))
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        how = 0
    if how == 0:
        return damaged(draw, content)
    if how == 1:
        return _broken_json(draw, content)
    for _ in range(draw(st.integers(1, 2))):
        value = _changed(draw, copy.deepcopy(value))
    return encoded(json.dumps(value))


def _broken_json(draw: Draw, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    return encoded(
        draw(
            st.sampled_from(
                [
                    "[" * DEEP + "]" * DEEP,
                    '{"a":' * DEEP + "1" + "}" * DEEP,
                    "",
                    "null",
                    "[]",
                    "{}",
                    '"text"',
                    "1",
                    LONG,
                    f"\ufeff{text}",
                    text + text,
                    text.replace("{", '{"schema": 7, ', 1),
                    text.replace(":", ': NaN, "x":', 1),
                    text.replace("1", "1e999", 1),
                    text.replace("0", LONG, 1),
                    text.replace("}", "," + text + "}", 1),
                    text.rstrip().rstrip("}"),
                ]
            )
        )
    )


def _changed(draw: Draw, value: Any) -> Any:
    """A value with a change at one of its places."""
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = sorted(value)
    elif isinstance(value, list):
        parts = list(range(min(len(value), 12)))
    if not parts or draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    part = draw(st.sampled_from(parts))
    how = draw(st.integers(0, 7))
    if how == 0:
        del value[part]
    elif how == 1 and isinstance(value, dict):
        value[draw(st.text(max_size=6) | st.sampled_from(parts))] = value.pop(part)
    elif how == 2 and isinstance(value, list):
        value[part : part + 1] = [value[part]] * draw(st.sampled_from([2, 300]))
    elif isinstance(value[part], dict | list) and how < 7:
        value[part] = _changed(draw, value[part])
    else:
        value[part] = draw(VALUES)
    return value


def json_lines(draw: Draw, content: bytes) -> bytes:
    """JSON lines with one of them changed."""
    found = content.splitlines(keepends=True)
    if not found or draw(st.integers(0, 6)) == 0:
        return damaged(draw, content)
    at = draw(st.integers(0, len(found) - 1))
    found[at] = json_text(draw, found[at].strip()) + b"\n"
    return b"".join(found)


def lines(draw: Draw, content: bytes) -> bytes:
    """Text with lines changed, left out or repeated."""
    if draw(st.integers(0, 6)) == 0:
        return damaged(draw, content)
    found = content.decode("utf-8", "replace").split("\n")
    at = draw(st.integers(0, len(found) - 1))
    how = draw(st.integers(0, 4))
    if how == 0:
        del found[at]
    elif how == 1:
        found.insert(at, found[at])
    elif how == 2:
        parts = found[at].split(" ")
        parts[draw(st.integers(0, len(parts) - 1))] = words(draw)
        found[at] = " ".join(parts)
    else:
        found[at] = words(draw)
    return encoded("\n".join(found))


def table(draw: Draw, content: bytes) -> bytes:
    """A CSV with cells, columns, lines, delimiters or bytes changed."""
    how = draw(st.integers(0, 9))
    if how == 0:
        return damaged(draw, content)
    if how == 1:
        return lines(draw, content)
    text = content.decode("utf-8", "replace")
    sign = " " if "," not in text.split("\n", 1)[0] else ","
    rows = [line.split(sign) for line in text.split("\n")]
    for _ in range(draw(st.integers(1, 3))):
        row = 0 if draw(st.integers(0, 3)) == 0 else draw(st.integers(0, len(rows) - 1))
        cell = draw(st.integers(0, len(rows[row]) - 1))
        rows[row][cell] = _cell(draw, rows, row, cell)
    if how == 2:
        column = draw(st.integers(0, len(rows[0]) - 1))
        keep = draw(st.booleans())
        for cells in rows:
            if column < len(cells):
                cells[column : column + 1] = [cells[column]] * 2 if keep else []
    if how == 3:
        start = draw(st.sampled_from(["sep=", "sep=;", 'sep="', "sep=\r", "sep= ", "\ufeff", "\n"]))
        rows.insert(0, [start])
    if how == 4:
        sign = draw(st.sampled_from([";", "\t", "|", " ", ",,"]))
    made = draw(st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"])).join(map(sign.join, rows))
    codec = draw(st.sampled_from(["utf-8"] * 5 + ["utf-16", "latin-1"]))
    return made.encode(codec, "surrogatepass" if codec != "latin-1" else "replace")


def _cell(draw: Draw, rows: list[list[str]], row: int, cell: int) -> str:
    if draw(st.integers(0, 2)) == 0:
        other = rows[draw(st.integers(0, len(rows) - 1))]
        return other[cell % len(other)]
    new = words(draw)
    return f'"{new}"' if draw(st.integers(0, 4)) == 0 else new


_TOML = (
    *("1", "-1", "1.5", "nan", "inf", '""', '"x"', "[]", "{}", "true", "1979-05-27T07:32:00Z"),
    *(LONG, '"\\u0000"', '"a\\nb"', '"' + "x" * 5000 + '"', "[" * 2000, "{a={a={}}}", "'''"),
)


def toml(draw: Draw, content: bytes) -> bytes:
    """TOML with values, keys or lines changed."""
    if draw(st.integers(0, 6)) == 0:
        return damaged(draw, content)
    found = content.decode("utf-8", "replace").split("\n")
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        key, sign, _ = found[at].partition("=")
        how = draw(st.integers(0, 7))
        if how == 0:
            del found[at : at + 1]
        elif how == 1:
            found.insert(at, found[at])
        elif how == 2:
            heads = ["[" + "a." * 5000 + "a]", "[[x]]", "[provides]", "x"]
            found[at] = draw(st.sampled_from(heads))
        elif how == 3:
            new = words(draw)
            found[at] = f"{json.dumps(new, ensure_ascii=False)} {sign or '='} 1"
        elif sign:
            value = draw(st.sampled_from(_TOML)) if how < 6 else json.dumps(words(draw))
            found[at] = f"{key}= {value}"
    return encoded("\n".join(found))
