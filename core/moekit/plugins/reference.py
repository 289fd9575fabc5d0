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
from types import ModuleType

from pydantic import BaseModel

from moekit.contract import (
    answers,
    commands,
    datasets,
    experts,
    hookspecs,
    jobs,
    kits,
    metrics,
    outputs,
    report,
    tasks,
)
from moekit.contract.recipe import Recipe
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
_RECORDS = (kits, experts, datasets, metrics, tasks, answers, outputs, jobs, report, commands)
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
    yield "[The tutorial](TUTORIAL.md) says how to begin, [BROKEN.md](BROKEN.md) what users see of"
    yield "a broken plugin. Editors that know JSON schemas can check a manifest against"
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
    yield from ("## The recipe", "", *(inspect.getdoc(Recipe) or "").splitlines(), "")
    yield from _fields(Recipe)
    yield ""
    yield from ("## Records", "")
    for module in _RECORDS:
        yield from (f"### {(module.__doc__ or '').splitlines()[0].rstrip('.')}", "")
        for record in _classes(module):
            yield from (f"#### `{record.__name__}`", "")
            yield from _docstring(record)
            yield from _methods(record)
            yield ""


def _classes(module: ModuleType) -> list[type]:
    """The public classes of a module, in the order of its text."""
    return [
        one
        for name, one in vars(module).items()
        if isinstance(one, type) and one.__module__ == module.__name__ and name[0] != "_"
    ]


def _methods(record: type) -> Iterator[str]:
    """What an object must offer, of a record that a plugin writes a class for."""
    if dataclasses.is_dataclass(record):
        return
    found = {name: one for name, one in vars(record).items() if inspect.isfunction(one)}
    offered = [name for name in found if name[0] != "_"]
    if offered:
        yield from ("", "| method | meaning |", "| --- | --- |")
    for name in offered:
        parameters = ", ".join(list(inspect.signature(found[name]).parameters)[1:])
        meaning = " ".join((inspect.getdoc(found[name]) or "").partition("\n\n")[0].split())
        yield f"| `{name}({parameters})` | {meaning} |"


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
        file.write(json.dumps(manifest.json_schema(), indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
