"""Records of plugins whose functions leave the process as they found it.

Functions of tasks, kits, reports and health checks are wrapped here, in one place, when the
registry gives a record. What builds modules is not: a head draws its weights from the random
numbers that the training seeds. Experts, gates and metrics are guarded at their calls, see
`moekit.moe.owned`, and loaders and listeners at theirs.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit.plugins.settings_kept import settings_kept

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "tasks": ("learn", "answering", "judge", "show", "correcting"),
    "kits": ("prepare", "fit", "predict", "reader", "negatives_only", "variants"),
    "report_sections": ("render",),
    "health_checks": ("run",),
}
"""Fields by the kind of record: functions, and records whose functions are all guarded."""
_DRAW = frozenset(
    (
        *("loss", "targets", "fit", "prepared"),
        *("merge", "derive", "answers", "unreadable", "of", "moved", "figures", "add", "finish"),
        *("draw", "files", "caption", "draft", "margin", "several"),
    )
)
"""Functions that may draw other numbers at each call, or are called for each batch or item."""
_MAKE_OBJECTS = frozenset({"tallier", "whole"})
_METHODS = ("add", "finish", "items", "gather")
"""Methods of the objects that plugins hand over."""


def guarded_record(kind: str, record: Any) -> Any:
    """The record with functions that put back what they change in the process.

    Args:
        kind: Key of `moekit.contract.record_kinds.RECORD_KINDS`.
        record: As the plugin gave it.
    """
    fields = _FIELDS.get(kind, ())
    return _replaced(record, [name for name in fields if hasattr(record, name)], kind)


def _replaced(record: Any, names: Sequence[str], kind: str) -> Any:
    changes = {name: _guarded(name, getattr(record, name), kind) for name in names}
    kept = {name: one for name, one in changes.items() if one is not getattr(record, name)}
    return dataclasses.replace(record, **kept) if kept else record


def _guarded(name: str, value: Any, kind: str) -> Any:
    if value is None or isinstance(value, Guarded | _Methods):
        return value
    if name == "reader":
        return _Methods(value)
    if name == "variants":
        return tuple(guarded_record(kind, one) for one in value)
    if name == "negatives_only":
        return guarded_record(kind, value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _replaced(value, [one.name for one in dataclasses.fields(value)], kind)
    return Guarded(value, name) if callable(value) else value


class Guarded:
    """A function that is called under guard. Two are equal if their functions are.

    Args:
        function: A plugin's.
        name: Of the field that it was in.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        functools.update_wrapper(self, function)
        self.function, self.name = function, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function; while a graph is recorded as it is."""
        if _is_recorded():
            return self.function(*args, **kwargs)
        with settings_kept(draws=self.name in _DRAW):
            made = self.function(*args, **kwargs)
        if self.name in _MAKE_OBJECTS and made is not None:
            return _Methods(made)
        if self.name == "prepared" and dataclasses.is_dataclass(made):
            return _replaced(made, [one.name for one in dataclasses.fields(made)], "tasks")
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Guarded) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)


class _Methods:
    """An object of a plugin whose methods are called under guard; all else is the object's own."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of copying and pickling, before `_made` is there
            raise AttributeError(name)
        value = getattr(self._made, name)
        if name not in _METHODS:
            return value
        return self._items if name == "items" else Guarded(value, name)

    def _items(self, paths: Sequence[Path]) -> Iterator[Any]:
        with settings_kept(draws=True):
            items = iter(self._made.items(paths))
        while True:
            with settings_kept(draws=True):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item


def _is_recorded() -> bool:
    """Whether torch records a graph, in which nothing else may happen."""
    torch, routing = (sys.modules.get(name) for name in ("torch", "moekit.moe.routing"))
    if torch is None:
        return False
    return bool(torch.compiler.is_compiling() or (routing is not None and routing.is_traced()))
