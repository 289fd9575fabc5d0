"""The registry: what the installed plugins provide, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from moekit.errors import MoekitError, PluginError, UsageError
from moekit.plugins.activation import RECORDS, activate, collect
from moekit.plugins.discovery import Plugin, State, discover
from moekit.plugins.manifest import API_VERSION, Manifest, Provides
from moekit.plugins.records import DatasetSpec, ExpertSpec, GateSpec, KitSpec, MetricSpec

if TYPE_CHECKING:
    from moekit.data.samples import Dataset

Kind = Literal["kits", "experts", "gates", "datasets", "metrics"]


class Registry:
    """What the installed plugins provide. A plugin is imported when something of it is asked for.

    A name is either short (`auroc`), while only one plugin provides it, or qualified by its
    distribution (`moekit/auroc`), which always works.

    Args:
        plugins: The plugins to look in; those that are installed where None.
        disabled: Distributions that are not to be used.
    """

    def __init__(
        self, plugins: Iterable[Plugin] | None = None, *, disabled: Iterable[str] = ()
    ) -> None:
        self.plugins = list(discover(disabled) if plugins is None else plugins)
        self._records: dict[str, dict[tuple[str, str], Any]] = {}

    def register(self, hooks: object, *, distribution: str) -> None:
        """Adds hooks of this process that no installed package brings: for notebooks and tests.

        Args:
            hooks: A module or an object whose methods implement hooks.
            distribution: The name before the slash of what they provide.

        Raises:
            UsageError: A plugin of that distribution is there already.
            PluginError: A hook is unknown, raises, or returns something other than records.
        """
        if any(plugin.distribution == distribution for plugin in self.plugins):
            raise UsageError(
                f"{distribution} is registered already",
                whose=distribution,
                fix="choose another name",
            )
        plugin = Plugin(distribution=distribution, version="0", entry="in-process")
        records = collect(plugin, hooks)
        provides = {kind: tuple(name for of, name in records if of == kind) for kind in RECORDS}
        plugin.manifest = Manifest(
            name="in-process",
            api=API_VERSION,
            summary="hooks of this process",
            domain="any",
            hooks="__main__",
            provides=Provides.model_validate(provides),
        )
        self._records[_key(plugin)] = records
        self.plugins.append(plugin)

    def kit(self, name: str) -> KitSpec:
        """The kit of that name."""
        return cast(KitSpec, self._get("kits", name))

    def expert(self, name: str) -> ExpertSpec:
        """The specialist of that name."""
        return cast(ExpertSpec, self._get("experts", name))

    def gate(self, name: str) -> GateSpec:
        """The gate of that name."""
        return cast(GateSpec, self._get("gates", name))

    def dataset(self, name: str) -> DatasetSpec:
        """The loader of that name."""
        return cast(DatasetSpec, self._get("datasets", name))

    def metric(self, name: str) -> MetricSpec:
        """The metric of that name."""
        return cast(MetricSpec, self._get("metrics", name))

    def used(self) -> list[Plugin]:
        """The plugins that something was taken from so far."""
        return [plugin for plugin in self.plugins if _key(plugin) in self._records]

    def load_dataset(self, data: str, *, seed: int) -> Dataset:
        """Loads `LOADER` or `LOADER=PATH`.

        Raises:
            UsageError: No such loader, or a path where none is taken or none where one is needed.
            DataError: The loader refuses the data.
        """
        name, given, path = data.partition("=")
        spec = self.dataset(name)
        wanted = {"required": (True,), "optional": (True, False), "refused": (False,)}
        if bool(given and path) not in wanted[spec.takes_path]:
            raise UsageError(
                f"the loader {name} needs a path" if not path else f"{name} takes no path",
                whose=f"--data {data}",
                fix=f"write --data {name}=PATH" if not path else f"write --data {name}",
            )
        return spec.load(Path(path).expanduser() if path else None, seed)

    def names(self, kind: Kind) -> dict[str, Plugin]:
        """Qualified names of what the usable plugins promise, without importing any."""
        return {
            f"{plugin.distribution}/{name}": plugin
            for plugin in self.plugins
            if plugin.state is State.ACTIVE and plugin.manifest is not None
            for name in getattr(plugin.manifest.provides, kind)
        }

    def owner(self, kind: Kind, name: str) -> Plugin:
        """The plugin that provides a name, short or qualified.

        Raises:
            UsageError: Nobody provides it, or several do and the name is short.
            PluginError: The plugin that promises it cannot be used.
        """
        names = self.names(kind)
        full = [known for known in names if name in (known, known.partition("/")[2])]
        if len(full) == 1:
            return names[full[0]]
        if full:
            raise UsageError(
                f"several plugins provide {kind[:-1]} {name!r}",
                whose=name,
                fix=f"use one of the full names: {', '.join(sorted(full))}",
            )
        raise self._not_found(kind, name, names)

    def _get(self, kind: Kind, name: str) -> Any:
        plugin = self.owner(kind, name)
        return self._activated(plugin)[kind, name.rpartition("/")[2]]

    def _activated(self, plugin: Plugin) -> dict[tuple[str, str], Any]:
        key = _key(plugin)
        if key not in self._records:
            try:
                self._records[key] = activate(plugin)
            except PluginError as error:
                plugin.fail(State.BROKEN, error.what)
                raise
        return self._records[key]

    def _not_found(self, kind: Kind, name: str, names: Iterable[str]) -> MoekitError:
        for plugin in self.plugins:
            promised = getattr(plugin.manifest.provides, kind) if plugin.manifest else ()
            if plugin.state is not State.ACTIVE and name.rpartition("/")[2] in promised:
                return PluginError(
                    f"{kind[:-1]} {name!r} is not usable: its plugin is {plugin.state.value}",
                    whose=f"{plugin.distribution} {plugin.version}",
                    fix=plugin.reason,
                )
        shorts = sorted(known.partition("/")[2] for known in names)
        near = difflib.get_close_matches(name, shorts, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return UsageError(
            f"no {kind[:-1]} has the name {name!r}",
            whose=name,
            fix=f"{hint}installed: {', '.join(shorts) or 'none; install a kit'}",
        )


def _key(plugin: Plugin) -> str:
    return f"{plugin.distribution}/{plugin.entry}"
