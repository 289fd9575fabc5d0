"""Whose fault an unforeseen error is: the plugin in whose code it arose."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from moekit.errors import PluginError, is_nobodys
from moekit.plugins.discovery import Plugin, discover
from moekit.text import printable

P = ParamSpec("P")
R = TypeVar("R")
_OWN = "moekit"


def named_fault(error: BaseException) -> PluginError | None:
    """The error that names the plugin in whose code another one arose; None if in nobody's."""
    if is_nobodys(error):
        return None
    owners = _owners()
    for one in _chain(error):
        for file in reversed(list(_files(one.__traceback__))):
            owner = _owner_of(file, owners)
            if owner is not None:
                return _fault(owner, one)
    return None


def names_owner(function: Callable[P, R]) -> Callable[P, R]:
    """Makes unforeseen errors that arise in a plugin's code a `PluginError` that names it."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # a plugin may raise anything, SystemExit included
            fault = named_fault(error)
            if fault is None:
                raise
            raise fault from error

    return call


def owner_in_words(made: object) -> str:
    """Distribution and version of the plugin whose function or class this is; empty if nobody's."""
    made = inspect.unwrap(cast(Any, made))  # of what is guarded
    code = getattr(made, "__code__", None)
    file = getattr(code, "co_filename", None)
    if file is None:
        kind = made if isinstance(made, type) else type(made)
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    owner = _owner_of(file, _owners()) if isinstance(file, str) else None
    return "" if owner is None else f"{owner.distribution} {owner.version}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or at.__context__


def _files(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next


def _owners() -> list[tuple[Path, Plugin]]:
    """Folders of the installed plugins, the inner ones first."""
    try:
        plugins = discover()
    except Exception:  # damaged settings: the error itself must be shown all the same
        return []
    found = [
        (plugin.folder.resolve(), plugin)
        for plugin in plugins
        if plugin.folder is not None and plugin.distribution != _OWN
    ]
    return sorted(found, key=lambda one: -len(one[0].parts))


def _owner_of(file: str, owners: list[tuple[Path, Plugin]]) -> Plugin | None:
    try:
        path = Path(file).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return next((plugin for folder, plugin in owners if path.is_relative_to(folder)), None)


def _fault(owner: Plugin, error: BaseException) -> PluginError:
    said = printable(f": {error}" if str(error) else "", most=500)
    return PluginError(
        f"a plugin failed: {type(error).__name__}{said}",
        whose=f"{owner.distribution} {owner.version}",
        fix=f"report it to its authors with the traceback of --debug, or "
        f"`moekit plugins disable {owner.distribution}`",
        code="plugin/run-failed",
    )
