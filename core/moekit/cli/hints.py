"""What is added to an error of the command line if something else was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import click

_DATA = "--data"
_ALIKE = 0.8
"""Likeness from which an unknown option is taken for a known one, misspelt."""


def data_option_hint(error: click.ClickException, arguments: Sequence[str]) -> str:
    """Where options of the data stand, if a command with data was given an option it does not know.

    Args:
        error: What was raised.
        arguments: What was typed after `moekit`.

    Returns:
        A sentence; empty if the error is another one, or the option is nearly one of the command's.
    """
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return ""
    known = [name for one in error.ctx.command.params for name in one.opts if name[:2] == "--"]
    name = error.option_name
    if _DATA not in known or name[:2] != "--":
        return ""
    if difflib.get_close_matches(name, known, cutoff=_ALIKE):
        return ""
    source = _value(_DATA, arguments) or "LOADER=PATH"
    value = _value(name, arguments) or "VALUE"
    mark = "&" if "?" in source else "?"
    return (
        f"If {name[2:]} is an option of the data, it stands behind their path: "
        f'{_DATA} "{source}{mark}{name[2:]}={value}"; `moekit datasets --long` lists what loaders '
        "take."
    )


def _value(option: str, arguments: Sequence[str]) -> str:
    """What stands behind an option; empty if nothing does."""
    for place, text in enumerate(arguments):
        if text == option:
            after = next(iter(arguments[place + 1 :]), "-")
            return "" if after.startswith("-") else after
        if text.startswith(f"{option}="):
            return text.partition("=")[2]
    return ""
