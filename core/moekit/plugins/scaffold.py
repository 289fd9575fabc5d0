"""A new plugin's package, written from templates without a network."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import importlib.util
import keyword
import re
from pathlib import Path

from moekit.contract.record_kinds import RECORD_KINDS
from moekit.errors import UsageError
from moekit.files import atomic_text
from moekit.plugins.manifest import API_VERSION

_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
_LONGEST = 40
_WITH = {"kit": ("expert",)}
"""What a new plugin provides next to its own kind."""


def _has_template(kind: str) -> bool:
    template = f"templates/{kind.replace('-', '_')}.py.j2"
    return importlib.resources.files("moekit.plugins").joinpath(template).is_file()


PLUGIN_KINDS = tuple(
    entry.singular for entry in RECORD_KINDS.values() if _has_template(entry.singular)
)
"""What a new plugin can provide: every kind of record that has a template."""


def new_plugin(name: str, kind: str, folder: Path) -> list[Path]:
    """Writes a package that installs, passes its conformance checks and builds a wheel.

    Args:
        name: Of the distribution, and of what it provides: lower-case words joined by hyphens.
        kind: What it provides, of `PLUGIN_KINDS`.
        folder: Where the package's folder is made.

    Returns:
        The files written.

    Raises:
        UsageError: The name is improper or taken, or the folder is there already.
        StorageError: A file cannot be written.
    """
    package = name.replace("-", "_")
    _check_name(name, package)
    home = folder / name
    if home.exists():
        raise UsageError(
            "this is there already",
            whose=str(home),
            fix="choose another name or --out",
            code="usage/exists",
        )
    parts = (*_WITH.get(kind, ()), kind.replace("-", "_"))
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{package}/__init__.py": "__init__.py",
        f"{package}/plugin.toml": "plugin.toml",
        f"{package}/hooks.py": "hooks.py",
        **{f"{package}/{part}.py": f"{part}.py" for part in parts},
        "tests/test_conformance.py": "test_conformance.py",
    }
    words = {
        "name": name,
        "package": package,
        "kind": kind.replace("-", "_"),
        "summary": f"{'An' if kind == 'expert' else 'A'} {kind.replace('-', ' ')} of ours",
        "api": API_VERSION,
        "moekit": importlib.metadata.version("moekit"),
    }
    import jinja2  # only here: listing plugins must be quick

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("moekit.plugins"),
        autoescape=False,  # noqa: S701 - it writes Python and TOML; the only input is a checked name
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    written = []
    for path, template in files.items():
        text = templates.get_template(f"{template}.j2").render(words)
        with atomic_text(home / path) as file:
            file.write(re.sub(r"\n{4,}", "\n\n\n", text).strip() + "\n")
        written.append(home / path)
    return written


def _check_name(name: str, package: str) -> None:
    if (
        not re.fullmatch(_NAME, name)
        or len(name) > _LONGEST
        or keyword.iskeyword(package)
        or package == "tests"
    ):
        raise UsageError(
            "a plugin's name is lower-case words joined by hyphens, of 40 letters at most",
            whose=name,
            fix="choose a name such as my-lab-crack",
            code="usage/bad-name",
        )
    if importlib.util.find_spec(package) is not None:
        raise UsageError(
            f"a module {package} is installed already",
            whose=name,
            fix="choose another name",
            code="usage/name-taken",
        )
