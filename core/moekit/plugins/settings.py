"""Which plugins the user switched off, and whether a faulty one stops everything.

Three ways lead to a plugin being off: the settings file that `moekit plugins disable` writes, the
environment variable MOEKIT_DISABLE_PLUGINS (comma-separated distributions), and the option
`--disable-plugin`, which sets that variable for the command and the processes it starts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from moekit.errors import DataError
from moekit.files import locked, read_json, write_json

DISABLE_VARIABLE = "MOEKIT_DISABLE_PLUGINS"
STRICT_VARIABLE = "MOEKIT_STRICT"
FOLDER_VARIABLE = "MOEKIT_CONFIG_DIR"


def canonical(name: str) -> str:
    """A distribution's name as packaging tools compare it: `My_Kit` and `my-kit` are one."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def settings_file() -> Path:
    """The settings file: in MOEKIT_CONFIG_DIR, else in the user's configuration folder."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder or platformdirs.user_config_path("moekit")) / "plugins.json"


def switched_off() -> dict[str, str]:
    """The canonical names of the distributions that are off, with what switches each off.

    Raises:
        DataError: The settings file is damaged.
    """
    settings = dict.fromkeys(disabled_by_settings(), "the settings; see `moekit plugins enable`")
    named = os.environ.get(DISABLE_VARIABLE, "").split(",")
    variable = {canonical(name): DISABLE_VARIABLE for name in named if name.strip()}
    off = {**settings, **variable}
    off.pop("moekit", None)  # without it nothing works, and its own hooks say what is wrong
    return off


def disabled_by_settings() -> list[str]:
    """The canonical names in the settings file.

    Raises:
        DataError: The settings file is damaged.
    """
    path = settings_file()
    if not path.exists():
        return []
    try:
        content = read_json(path)
    except DataError:
        content = None
    names = content.get("disabled") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            'the settings are not {"disabled": [names]}',
            whose=str(path),
            fix="correct or delete the file",
            code="data/bad-settings",
        )
    return sorted({canonical(name) for name in names})


def switch(distribution: str, *, on: bool) -> None:
    """Writes into the settings that a distribution is on or off.

    Raises:
        DataError: The settings file is damaged.
        StorageError: It cannot be written.
    """
    name = canonical(distribution)
    with locked(settings_file()):  # of two commands at once none loses what the other writes
        names = {*disabled_by_settings()}
        names = names - {name} if on else names | {name}
        write_json(settings_file(), {"disabled": sorted(names)})


def is_strict() -> bool:
    """Whether a plugin that is not usable is an error for every command (MOEKIT_STRICT=1)."""
    return os.environ.get(STRICT_VARIABLE, "").lower() not in ("", "0", "false", "no", "off")
