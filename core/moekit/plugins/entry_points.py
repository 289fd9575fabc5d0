"""Where the manifests of the installed plugins lie. Nothing is imported, and nothing is judged.

`distributions` asks importlib.metadata, which takes a tenth of a second to import. `glance` finds
what it finds wherever packages are installed as folders on the path, for `moekit --help`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from moekit.plugins.settings import canonical

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "moekit.plugins"
UNKNOWN = "unknown"


def distributions() -> Collection[Distribution]:
    """The distributions that name a plugin; the first of a name on the path hides the others."""
    import importlib.metadata

    found: dict[str, Distribution] = {}
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except UnicodeDecodeError:
            continue
        if GROUP in text:
            found.setdefault(canonical(distribution.name or UNKNOWN), distribution)
    return found.values()


def entries_of(distribution: Distribution) -> list[tuple[str, str]]:
    """Names of a distribution's plugins, each with the place of its manifest.

    Raises:
        ValueError: Its entry_points.txt is damaged.
    """
    try:
        entries = distribution.entry_points.select(group=GROUP)
    except TypeError as error:  # raised for a line that is not `name = value`
        raise ValueError(str(error)) from error
    return [(entry.name, entry.value) for entry in entries]


def manifest_path(value: str) -> Path | None:
    """Where the manifest `package:plugin.toml` lies; the package is located, not imported."""
    package, _, file = value.partition(":")
    top, *inner = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    for folder in spec.submodule_search_locations:
        path = Path(folder).joinpath(*inner, file.strip())
        if path.is_file():
            return path
    return None


def manifests() -> Iterator[tuple[str, Path]]:
    """Names of distributions, each with a manifest of it that is there."""
    for distribution in distributions():
        try:
            entries = entries_of(distribution)
        except ValueError:
            continue
        for _, value in entries:
            path = manifest_path(value)
            if path is not None:
                yield distribution.name or UNKNOWN, path


def glance() -> Iterator[tuple[str, Path]]:
    """What `manifests` gives, of distributions that lie as folders on the path."""
    seen: set[str] = set()
    for info in _metadata_folders():
        text = _text(info / "entry_points.txt")
        if GROUP not in text:
            continue
        name = _name(_text(info / "METADATA") or _text(info / "PKG-INFO"))
        if canonical(name) in seen:
            continue
        seen.add(canonical(name))
        for value in _values(text):
            path = manifest_path(value)
            if path is not None:
                yield name, path


def _metadata_folders() -> Iterator[Path]:
    for folder in dict.fromkeys(sys.path):
        try:
            found = list(Path(folder).iterdir())
        except OSError:
            continue
        yield from (path for path in found if path.name.endswith((".dist-info", ".egg-info")))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _name(metadata: str) -> str:
    for line in metadata.splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "name":
            return value.strip() or UNKNOWN
    return UNKNOWN


def _values(entry_points: str) -> list[str]:
    """The values of the group; none where a line of it is damaged."""
    values, group = [], ""
    for line in (line.strip() for line in entry_points.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
        elif group == GROUP and line and not line.startswith("#"):
            _, sign, value = line.partition("=")
            if not sign:
                return []
            values.append(value.strip())
    return values
