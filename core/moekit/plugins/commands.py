"""Commands of plugins as their manifests declare them, for help: quick, lenient, nothing imported.

Help must name them without pydantic, so a manifest is read here and not judged: one that is refused
later still tells its commands' names, and whoever calls one of them reads what is wrong.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from moekit.files import read_plain
from moekit.plugins.entry_points import LARGEST_MANIFEST, TOO_DEEP
from moekit.plugins.settings import canonical
from moekit.text import printable

RESERVED = frozenset(
    (
        "adapt",
        "backbone",
        "bench",
        "client",
        "datasets",
        "demo",
        "doctor",
        "embed",
        "evaluate",
        "experts",
        "export",
        "gates",
        "import",
        "kits",
        "merge",
        "metrics",
        "next",
        "plugins",
        "predict",
        "pretrain",
        "report",
        "serve",
        "tasks",
        "verify",
        "watch",
    )
)
"""Names of moekit's own commands, which no plugin can take."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_LONGEST = 120


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeclaredCommand:
    """A command that a manifest declares.

    Attributes:
        distribution: Of the plugin.
        manifest: Where it is declared.
        name: Short name.
        summary: The line for help.
    """

    distribution: str
    manifest: Path
    name: str
    summary: str

    @property
    def full_name(self) -> str:
        """The name that always works."""
        return f"{self.distribution}/{self.name}"

    def is_meant_by(self, name: str) -> bool:
        """Whether a short or qualified name means it."""
        given, slash, last = name.rpartition("/")
        return last == self.name and (not slash or canonical(given) == canonical(self.distribution))


def declared_commands(manifests: Iterable[tuple[str, Path]]) -> list[DeclaredCommand]:
    """What manifests declare, sorted by name; one that cannot be read declares nothing.

    Args:
        manifests: Distributions and manifests, as `manifests` and `glance` of
            `moekit.plugins.entry_points` give them.
    """
    found = {command for distribution, path in manifests for command in _read(distribution, path)}
    return sorted(found, key=lambda command: (command.name, command.distribution, command.manifest))


def lines_of_help(
    commands: Collection[DeclaredCommand], *, disabled: Collection[str]
) -> list[tuple[str, str]]:
    """Each command by the shortest name that works, with its summary.

    Args:
        commands: What the manifests declare.
        disabled: Canonical names of distributions whose commands are left out.
    """
    shown = [one for one in commands if canonical(one.distribution) not in disabled]
    count = Counter(one.name for one in shown)
    return [
        (
            one.name if count[one.name] == 1 and one.name not in RESERVED else one.full_name,
            one.summary,
        )
        for one in shown
    ]


def _read(distribution: str, path: Path) -> Iterator[DeclaredCommand]:
    try:
        text = read_plain(path, most=LARGEST_MANIFEST).decode("utf-8")
        content = {} if TOO_DEEP.search(text) else tomllib.loads(text)
    except (OSError, ValueError, RecursionError):
        return
    provides = content.get("provides")
    commands = provides.get("commands") if isinstance(provides, dict) else None
    for name, summary in commands.items() if isinstance(commands, dict) else ():
        if _NAME.fullmatch(name) and isinstance(summary, str):
            line = printable(summary, most=_LONGEST)
            yield DeclaredCommand(distribution=distribution, manifest=path, name=name, summary=line)
