"""The command line as it is recorded: whole, or without paths for kits whose data are private."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from moekit.contract.kits import KitSpec

_PATH = "PATH"
_WORD_WITH_A_FOLDER = re.compile(r"(?<=[\s=])[^\s=]*[/\\][^\s?]*")


def recorded_command(
    command: str, spec: KitSpec, *, data: str = "", paths: Iterable[Path | str | None] = ()
) -> str:
    """What is written into runs and results of a command line.

    Args:
        command: What was typed.
        spec: The kit; see `KitSpec.hides_paths`.
        data: The value of `--data`; the name of its loader and its options stay.
        paths: Values of other options that are paths.
    """
    if not spec.hides_paths:
        return command
    _, mark, place = data.partition("=")
    hidden = {place.partition("?")[0] if mark else "", *map(str, filter(None, paths))}
    for value in sorted(hidden, key=len, reverse=True):
        if value not in ("", "auto"):
            command = re.sub(rf"(?<![^\s=]){re.escape(value)}(?=[\s?]|$)", _PATH, command)
    return _WORD_WITH_A_FOLDER.sub(_PATH, command)
