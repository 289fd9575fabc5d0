"""What a check is, and how checks are listed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from moekit.errors import MoekitError
from moekit.testing.subject import Subject
from moekit.testing.verdicts import Blocked, ConformanceError, NotApplicable

CheckFunction = Callable[[Subject, str], None]
Decorated = TypeVar("Decorated", bound=CheckFunction)

CHECKS: dict[str, dict[str, CheckFunction]] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One check of one thing that a plugin provides.

    Attributes:
        kind: What is checked, such as `expert`.
        record: Short name of the expert, gate, ...; empty if the plugin itself is checked.
        name: The check's name, such as `starts-at-zero`.
        summary: What must hold, in one line.
    """

    kind: str
    record: str
    name: str
    summary: str
    subject: Subject = dataclasses.field(repr=False)

    @property
    def id(self) -> str:
        """`kind/record/name`, or `kind/name` for the plugin itself."""
        return "/".join(filter(None, (self.kind, self.record, self.name)))

    def run(self) -> None:
        """Runs the check.

        Raises:
            ConformanceError: It failed.
            NotApplicable: It has nothing to ask of this plugin.
        """
        function = CHECKS[self.kind][self.name]
        try:
            function(self.subject, self.record)
        except (ConformanceError, NotApplicable, Blocked, KeyboardInterrupt):
            raise
        except MoekitError as error:
            raise ConformanceError(error.what) from error
        except BaseException as error:  # a plugin may raise anything, SystemExit included
            raise ConformanceError(f"it raised {type(error).__name__}: {error}") from error


def check(kind: str) -> Callable[[Decorated], Decorated]:
    """Puts a function into the list: its name becomes the check's, its docstring the summary."""

    def enlist(function: Decorated) -> Decorated:
        name = function.__name__.replace("_", "-")
        if not function.__doc__:
            raise ValueError(f"the check {name} needs a docstring")
        CHECKS.setdefault(kind, {})[name] = function
        return function

    return enlist
