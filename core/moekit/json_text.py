"""JSON as the standard has it: no NaN, no Infinity, no key that is there twice."""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from moekit.errors import MoekitError

__all__ = ["finite", "not_finite", "parse_json", "to_json"]


def to_json(value: Any, **options: Any) -> str:
    """JSON text. Nothing else of moekit makes any, so that none holds NaN or Infinity.

    Args:
        value: What to write.
        options: Further ones of `json.dumps`.

    Raises:
        MoekitError: A number in it is not finite.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError as error:
        place = not_finite(value)
        if place is None:
            raise
        raise MoekitError(
            f"a figure is {place[1]}, which JSON cannot hold",
            whose=place[0] or "the value",
            fix="check the data and the weights for numbers that are not finite; if they are "
            "sound, report this with the command",
            code="error/not-finite",
        ) from error


def finite(value: Any) -> Any:
    """A value made of numbers, texts, lists and mappings, with None for what is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list | tuple) else value


def not_finite(value: Any, place: str = "") -> tuple[str, float] | None:
    """Where in a value a number is not finite, and that number; None if all are.

    Args:
        value: Numbers, texts, lists and mappings of them.
        place: Where it lies itself.
    """
    if isinstance(value, float):
        return None if math.isfinite(value) else (place, value)
    parts: Iterable[tuple[str, Any]] = ()
    if isinstance(value, Mapping):
        parts = ((f"{place}.{key}".lstrip("."), part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        parts = ((f"{place}[{number}]", part) for number, part in enumerate(value))
    return next((found for key, part in parts if (found := not_finite(part, key))), None)


def parse_json(text: str, *, finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: What stands in a file or a request.
        finite: Whether numbers must be so; False for files of other programs, which write NaN.

    Raises:
        ValueError: It is none: JSON knows neither NaN nor Infinity, and a key that is there twice
            says two things. Also for numbers that are too large and values that lie too deep.
    """
    strict: dict[str, Any] = {}
    if finite:
        strict = {"parse_constant": _refuse_constant, "parse_float": _finite_number}
    try:
        return json.loads(text, object_pairs_hook=_refuse_twins, **strict)
    except RecursionError as error:
        raise ValueError("its values lie too deep") from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite_number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text[:60])


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice[:60]!r} is there twice")
    return found
