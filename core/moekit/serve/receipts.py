"""Served answers with their receipts, from the files in which clients keep them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moekit.errors import DataError
from moekit.files import parse_json, read_plain
from moekit.serve.schema import KitAnswer

_MOST_BYTES = 2**28
_LISTS = ("images", "answers")
"""Where a reply, and what `moekit client --json` prints, hold an entry an image."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """An answer that a server gave.

    Attributes:
        name: What its kit was called there; empty if the file does not say.
        answer: The answer.
    """

    name: str
    answer: KitAnswer


def read_served(path: Path) -> list[Served]:
    """The answers in a file, in their order.

    Args:
        path: JSON: a reply of the server, what `moekit client --json` prints, the entry of one
            image, or one answer.

    Raises:
        DataError: It cannot be read, or holds no answer with a receipt.
    """
    try:
        found = parse_json(read_plain(path, most=_MOST_BYTES).decode("utf-8"))
        served = list(_in(found))
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part)[:80] for part in first["loc"])
        raise _bad(path, f"holds an answer that is none: {place}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise _bad(path, "is not JSON in UTF-8") from error
    if not served:
        raise _bad(path, "holds no answer with a receipt")
    return served


def _in(found: Any) -> Iterator[Served]:
    """The answers below a value, whichever of the known forms it has."""
    if not isinstance(found, dict):
        return
    if "receipt" in found:
        yield Served(name="", answer=KitAnswer.model_validate(found))
        return
    for key in _LISTS:
        if isinstance(found.get(key), list):
            for entry in found[key]:
                yield from _in(entry)
    answers = found.get("answers")
    if isinstance(answers, dict):
        for name, one in answers.items():
            yield Served(name=name, answer=KitAnswer.model_validate(one))


def _bad(path: Path, what: str) -> DataError:
    return DataError(
        f"the file {what}",
        whose=str(path),
        fix="give a reply of `moekit serve`, what `moekit client --json` prints, or one answer "
        "with its receipt",
        code="data/bad-receipt",
    )
