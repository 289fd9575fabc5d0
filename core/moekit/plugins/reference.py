"""The reference page of the plugin contract, rendered from the code that enforces it.

`python -m moekit.plugins.reference FOLDER` writes REFERENCE.md and manifest.schema.json.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from moekit.contract import hookspecs, records
from moekit.files import atomic_text
from moekit.plugins import manifest
from moekit.plugins.discovery import State
from moekit.plugins.manifest import API_VERSION

_TABLES: dict[str, type[BaseModel]] = {
    "plugin.toml": manifest.Manifest,
    "[provides]": manifest.Provides,
    "[[requires]]": manifest.Requirement,
    "[[inputs]]": manifest.Input,
    "[[weights]]": manifest.Weights,
    "[card]": manifest.Card,
}
_STATES = {
    State.ACTIVE: "It can be used. Whether its code works is seen when it is first needed.",
    State.DISABLED: "Switched off by the settings, the environment or an option.",
    State.INVALID: "Its manifest is missing, is no TOML, or breaks the schema below.",
    State.INCOMPATIBLE: "It is made for another version of the contract.",
    State.MISSING_DEPS: "A module that it requires is not installed; the command is named.",
    State.CONFLICT: "Its distribution registers one name several times.",
    State.BROKEN: "Its import or a hook failed, or it provides other things than it declares.",
}


def render() -> str:
    """The page, as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield f"# The plugin contract, API {API_VERSION}"
    yield ""
    yield "Rendered from the code by `python -m moekit.plugins.reference plugins`; a test holds it."
    yield "How to begin is told in [the tutorial](TUTORIAL.md), what users see of a broken plugin"
    yield "in [BROKEN.md](BROKEN.md). Editors that know JSON schemas can check a manifest against"
    yield "[manifest.schema.json](manifest.schema.json)."
    yield from ("", "## States", "", "| state | meaning |", "| --- | --- |")
    yield from (f"| {state.value} | {meaning} |" for state, meaning in _STATES.items())
    yield from ("", "## The manifest", "", "Unknown keys are refused.")
    for title, model in _TABLES.items():
        yield from ("", f"### `{title}`", "")
        yield from _fields(model)
    yield from ("", "## Hooks", "")
    for name in sorted(name for name in vars(hookspecs) if name.startswith("moekit_")):
        hook = getattr(hookspecs, name)
        signature = str(inspect.signature(hook)).replace("'", "")
        yield f"### `{name}{signature}`"
        yield ""
        yield from _docstring(hook)
        yield ""
    yield from ("## Records", "")
    for name, record in inspect.getmembers(records, dataclasses.is_dataclass):
        if record.__module__ == records.__name__:
            yield f"### `{name}`"
            yield ""
            yield from _docstring(record)
            yield ""


def _fields(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | needed | meaning |"
    yield "| --- | --- | --- |"
    for name, field in model.model_fields.items():
        needed = "yes" if field.is_required() else "no"
        yield f"| `{name}` | {needed} | {field.description} |"


def _docstring(documented: object) -> Iterator[str]:
    """The first paragraph as text, the rest as it is written."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    split = lines.index("") if "" in lines else len(lines)
    yield from lines[:split]
    rest = lines[split + 1 :]
    if rest:
        yield from ("", "```text", *rest, "```")


def write(folder: Path) -> None:
    """Writes the page and the schema into a folder."""
    with atomic_text(folder / "REFERENCE.md") as file:
        file.write(render())
    with atomic_text(folder / "manifest.schema.json") as file:
        file.write(json.dumps(manifest.json_schema(), indent=2) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
