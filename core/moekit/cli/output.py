"""Output: results on standard output, everything else on standard error.

The drawing library is imported when it draws, so that quick commands stay quick.
"""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from moekit.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress

_STEPS = 4
_QUIET_SECONDS = 8.0
"""If lines are printed, one comes at each quarter, and at least that often."""
_BEAT_SECONDS = 1.0
_NAME, _FILE_WIDTH = 44, 200
"""Columns that the names of a table's rows have before they are broken, and that a table has at
most where no terminal says its width."""


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON value on standard output, in escapes if the terminal cannot show all of it."""
    from moekit.files import to_json

    text = to_json(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = to_json(value)
    click.echo(text)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left", highlight=False)
    for place, column in enumerate(columns):
        names = [len(row[0]) for row in rows] if place == 0 else []
        whole = min(_NAME, max(names, default=0)) or None
        table.add_column(Text(printable(column)), overflow="fold", min_width=whole)
    for row in rows:
        table.add_row(*(Text(printable(cell, lines=True)) for cell in row))
    if not rows:
        echo(f"{title}: none")
        return
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    Console(width=width).print(table, markup=False)


def say(text: str) -> None:
    """A line on standard error, less control characters."""
    click.echo(printable(text, lines=True), err=True)


def say_next(*words: object) -> None:
    """The command that usually follows, ready to be copied, on standard error."""
    say(f"next: moekit {shlex.join(map(str, words))}")


def echo(text: str) -> None:
    """A line on standard output, less control characters."""
    click.echo(printable(text, lines=True))


class ProgressDisplay:
    """Progress: bars on a terminal, plain lines elsewhere. Made by `reporter`."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}
        self._quarters: dict[str, int] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._last = self._moved = time.monotonic()
        self._at = ("", 0, 0)

    def update(self, what: str, done: int, total: int) -> None:
        """Shows that `done` of `total` are done. A single step has a line only if it takes long."""
        if self._progress is not None:
            if what not in self._tasks:
                self._tasks[what] = self._progress.add_task(printable(what), total=total)
            self._progress.update(self._tasks[what], completed=done, total=total)
            return
        now = time.monotonic()
        began, first = self._began.setdefault(what, (now, done))
        left = (now - began) / (done - first) * (total - done) if done > first else 0.0
        line = f"{what}: {done} of {total}{_in_words(left)}"
        self._at, self._moved = (line if done < total > 1 else what, done, total), now
        quarter = _STEPS * done // total if total > 1 else 0
        if quarter > self._quarters.get(what, 0) or now - self._last > _QUIET_SECONDS:
            self._quarters[what], self._last = quarter, now
            say(line)

    def line(self, text: str) -> None:
        """A line of text, above the bars."""
        self._last = self._moved = time.monotonic()
        self._at = ("", 0, 0)
        if self._progress is not None:
            clean = printable(text, lines=True)
            self._progress.console.print(clean, markup=False, highlight=False)
        else:
            say(text)

    def beat(self) -> None:
        """Says what is going on if nothing was shown for `_QUIET_SECONDS`."""
        now = time.monotonic()
        if self._progress is not None or now - self._last < _QUIET_SECONDS:
            return
        self._last = now
        what, done, total = self._at
        seconds = now - self._moved
        waited = f"for {seconds:.0f} s"
        if not what or done >= total:
            say(f"{what}{' is done; ' * bool(what)}still working, {waited} so far")
        elif total == 1:
            say(f"{what}: {waited} so far")
        else:
            say(what if seconds < _QUIET_SECONDS else f"{what}; nothing new {waited}")


@contextmanager
def _beating(display: ProgressDisplay) -> Iterator[ProgressDisplay]:
    """Calls `beat` from a thread of its own, so that no step is silent, whoever wrote it."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(_BEAT_SECONDS):
            display.beat()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield display
    finally:
        over.set()
        thread.join()


@contextmanager
def still_at(what: str) -> Iterator[None]:
    """Says from time to time that a step goes on, of a command that prints results meanwhile."""
    with _beating(ProgressDisplay(None)) as display:
        display.update(what, 0, 1)
        yield


def _in_words(seconds: float) -> str:
    """How long something probably takes; empty if that is not worth a word."""
    if seconds < _QUIET_SECONDS:
        return ""
    minutes = seconds / 60
    return f", about {minutes:.0f} min left" if minutes >= 2 else f", about {seconds:.0f} s left"


@contextmanager
def reporter() -> Iterator[ProgressDisplay]:
    """Yields a reporter for the length of a command.

    What libraries and plugins print meanwhile goes to standard error, so that standard output holds
    results only.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        with redirect_stdout(sys.stderr), _beating(ProgressDisplay(None)) as display:
            yield display
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        yield ProgressDisplay(progress)
