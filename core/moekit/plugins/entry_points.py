"""Where the manifests of the installed plugins lie. Nothing is imported, and nothing is judged.

`distributions` asks importlib.metadata, which takes a tenth of a second to import. `glance` finds
what it finds wherever packages are installed as folders on the path, for `moekit --help`.
"""

from __future__ import annotations

import errno
import importlib.util
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from moekit.files import check_plain, read_plain
from moekit.plugins.settings import canonical
from moekit.text import printable

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "moekit.plugins"
UNKNOWN = "unknown"
LARGEST_MANIFEST = 2**16
"""Bytes of a plugin.toml; those of moekit's own plugins have a few thousand."""
TOO_DEEP = re.compile(r"(?:\.\s?[\w\"'-]{1,40}\s?){20}")
"""A dotted key that no manifest has; reading a long one takes minutes."""
_LARGEST_LIST = 2**18
_LARGEST_METADATA = 2**23
_LONGEST_NAME = 100
_LONGEST_VALUE = 300
_MOST_ENTRIES = 50
"""Of a distribution: what passes these limits is taken for damaged."""


def distributions() -> Collection[Distribution]:
    """The distributions that name a plugin; the first of a name on the path hides the others."""
    found: dict[str, Distribution] = {}
    for folder in dict.fromkeys(sys.path):
        for distribution in _installed_in(folder):
            if GROUP in _entries_text(distribution):
                found.setdefault(canonical(name_of(distribution)), distribution)
    return found.values()


def _installed_in(folder: str) -> list[Distribution]:
    import importlib.metadata

    try:
        return list(importlib.metadata.distributions(path=[folder]))
    except Exception:  # an entry of the path that is no folder's name, or a broken finder
        return []


def name_of(distribution: Distribution) -> str:
    """A distribution's name as it can be shown; `UNKNOWN` if it has none."""
    return _said(distribution, "name")


def version_of(distribution: Distribution) -> str:
    """A distribution's version as it can be shown; `UNKNOWN` if it has none."""
    return _said(distribution, "version")


def _said(distribution: Distribution, field: str) -> str:
    try:
        _check_metadata(distribution)
        return printable(str(getattr(distribution, field) or UNKNOWN), most=_LONGEST_NAME)
    except Exception:  # metadata are gone, cannot be read, or are no metadata
        return UNKNOWN


def _check_metadata(distribution: Distribution) -> None:
    """Raises OSError if its metadata are a device or a pipe, which may never end, or too large."""
    folder = getattr(distribution, "_path", None)
    if not isinstance(folder, Path):
        return
    for file in (folder / "METADATA", folder / "PKG-INFO"):
        if file.exists():
            check_plain(file)
            if file.stat().st_size > _LARGEST_METADATA:
                raise OSError(errno.EFBIG, "it is too large", str(file))


def _entries_text(distribution: Distribution) -> str:
    """Its entry_points.txt; empty if it cannot be read, cut if it is too large."""
    folder = getattr(distribution, "_path", None)
    if isinstance(folder, Path):
        file = folder / "entry_points.txt"
        try:
            if file.stat().st_size > _LARGEST_LIST:
                return GROUP + " " * _LARGEST_LIST  # whether it names a plugin is not looked for
        except (OSError, ValueError):
            return ""
        return _text(file)
    try:  # of an archive, or of a finder that is not Python's own
        return (distribution.read_text("entry_points.txt") or "")[: _LARGEST_LIST + 1]
    except Exception:
        return ""


def entries_of(distribution: Distribution) -> list[tuple[str, str]]:
    """Names of a distribution's plugins, each with the place of its manifest.

    Raises:
        ValueError: Its entry_points.txt is damaged.
    """
    if len(_entries_text(distribution)) > _LARGEST_LIST:
        raise ValueError("the file is too large")
    try:
        entries = list(distribution.entry_points.select(group=GROUP))
    except Exception as error:  # a line that is not `name = value`, or anything else
        raise ValueError(printable(str(error))) from error
    if len(entries) > _MOST_ENTRIES:
        raise ValueError(f"it names {len(entries)} plugins")
    if any(
        len(entry.name) > _LONGEST_NAME or len(entry.value) > _LONGEST_VALUE for entry in entries
    ):
        raise ValueError("a name in it is too long")
    return [(printable(entry.name), entry.value) for entry in entries]


def manifest_path(value: str) -> Path | None:
    """Where the manifest `package:plugin.toml` lies; the package is located, not imported."""
    package, _, file = value.partition(":")
    top, *inner = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for folder in (spec and spec.submodule_search_locations) or ():
            path = Path(folder).joinpath(*inner, file.strip())
            if path.is_file():
                return path
    except Exception:  # a folder that cannot be read, a name that no file can have, a broken finder
        return None
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
                yield name_of(distribution), path


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
        for value in _values(text)[:_MOST_ENTRIES]:
            path = manifest_path(value)
            if path is not None:
                yield name, path


def _metadata_folders() -> Iterator[Path]:
    for folder in dict.fromkeys(sys.path):
        try:
            found = list(Path(folder).iterdir())
        except (OSError, TypeError, ValueError):
            continue
        yield from (path for path in found if path.name.endswith((".dist-info", ".egg-info")))


def _text(path: Path) -> str:
    try:
        return read_plain(path, most=_LARGEST_LIST).decode("utf-8")
    except (OSError, ValueError):
        return ""


def _name(metadata: str) -> str:
    for line in metadata.splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "name":
            return printable(value.strip(), most=_LONGEST_NAME) or UNKNOWN
    return UNKNOWN


def _values(entry_points: str) -> list[str]:
    """The values of the group; none if a line of it is damaged."""
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
