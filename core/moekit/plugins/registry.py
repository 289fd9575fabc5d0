"""The registry: what the installed plugins provide, by name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from moekit.contract.commands import CommandSpec, HealthCheckSpec
from moekit.contract.datasets import DatasetSpec
from moekit.contract.experts import ExpertSpec, GateSpec, TokenGateSpec
from moekit.contract.kits import KitSpec
from moekit.contract.metrics import MapMetricSpec, MetricSpec
from moekit.contract.record_kinds import RECORD_KINDS
from moekit.contract.report import ReportSectionSpec, RunEvent
from moekit.contract.tasks import TaskSpec
from moekit.errors import MoekitError, PluginError, UsageError, is_nobodys
from moekit.plugins.activation import Activated, activate, collect
from moekit.plugins.discovery import Plugin, State, discover
from moekit.plugins.guarded import guarded_record
from moekit.plugins.kept_files import keeping
from moekit.plugins.listeners import tell
from moekit.plugins.manifest import API_VERSION, Event, Manifest, Provides
from moekit.plugins.settings import canonical, is_strict
from moekit.plugins.settings_kept import settings_kept

if TYPE_CHECKING:
    from moekit.data.samples import Dataset

_logger = logging.getLogger(__name__)
_HOME = "moekit"
Kind = str
"""A kind of record: a key of `moekit.contract.record_kinds.RECORD_KINDS`."""


def loader_and_path(data: str) -> tuple[str, Path | None]:
    """What `LOADER` or `LOADER=PATH` names; `~` is the home folder, if it is known."""
    name, _, path = data.partition("=")
    return name, Path(os.path.expanduser(path)) if path else None  # noqa: PTH111


class Registry:
    """What the installed plugins provide. A plugin is imported when something of it is asked for.

    A name is either short (`auroc`), while only one plugin provides it, or qualified by its
    distribution (`moekit/auroc`), which always works.

    Args:
        plugins: The plugins to look in; those that are installed if None.
        disabled: Distributions that are not to be used.
        strict: Whether an installed plugin that is neither usable nor disabled is an error, and a
            failing listener too; as the variable MOEKIT_STRICT says if None.

    Raises:
        PluginError: In strict mode, a plugin is not usable.
    """

    def __init__(
        self,
        plugins: Iterable[Plugin] | None = None,
        *,
        disabled: Iterable[str] = (),
        strict: bool | None = None,
    ) -> None:
        self.plugins = list(discover(disabled) if plugins is None else plugins)
        self.strict = is_strict() if strict is None else strict
        self._activated: dict[str, Activated] = {}
        if self.strict:
            for plugin in self.plugins:
                refuse_unusable(plugin)

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
                code="usage/name-taken",
            )
        plugin = Plugin(distribution=distribution, version="0", entry="in-process")
        activated = collect(plugin, hooks)
        provides: dict[str, Any] = {
            kind: tuple(name for of, name in activated.records if of == kind)
            for kind in RECORD_KINDS
        }
        commands = [activated.records["commands", name] for name in provides["commands"]]
        provides["commands"] = {spec.name: spec.summary for spec in commands}
        plugin.manifest = Manifest(
            name="in-process",
            api=API_VERSION,
            summary="hooks of this process",
            domain="any",
            hooks="__main__",
            provides=Provides.model_validate(provides),
            listens=activated.listens,
        )
        self._activated[_key(plugin)] = activated
        self.plugins.append(plugin)

    def kit(self, name: str) -> KitSpec:
        """The kit of that name, with full names of all that it uses.

        A short name in a kit means its own distribution's first, then moekit's, then that of the
        only plugin that provides it: so no plugin that is installed later changes a kit.
        """
        home = self.owner("kits", name).distribution
        spec = cast(KitSpec, self._get("kits", name))
        return self._with_full_names(spec, home)

    def _with_full_names(self, spec: KitSpec, home: str) -> KitSpec:
        loader, sign, path = spec.demo_dataset.partition("=")
        good, others = spec.negatives_only, spec.variants
        return dataclasses.replace(
            spec,
            task=self.full_name("tasks", spec.task, home),
            recipe=spec.recipe.model_copy(
                update={"token_gate": self.full_name("token_gates", spec.recipe.token_gate, home)}
            ),
            slots=tuple(
                dataclasses.replace(
                    slot,
                    experts=tuple(self.full_name("experts", of, home) for of in slot.experts),
                    gate=self.full_name("gates", slot.gate, home),
                )
                for slot in spec.slots
            ),
            metrics=tuple(self.full_name("metrics", of, home) for of in spec.metrics),
            map_metrics=tuple(self.full_name("map_metrics", of, home) for of in spec.map_metrics),
            demo_dataset=self.full_name("datasets", loader, home) + sign + path if loader else "",
            negatives_only=None if good is None else self._with_full_names(good, home),
            variants=tuple(self._with_full_names(one, home) for one in others),
        )

    def full_name(self, kind: Kind, name: str, home: str | None = None) -> str:
        """The qualified name of what a name means, or the name itself if nobody provides it.

        Args:
            kind: Of the record.
            name: Short or qualified.
            home: The distribution that a short name means first, before moekit.
        """
        names = self.names(kind)
        for full in (f"{home}/{name}", f"moekit/{name}"):
            if "/" not in name and home is not None and full in names:
                return full
        known = [full for full in names if _same(name, full)]
        return known[0] if len(known) == 1 else name

    def expert(self, name: str) -> ExpertSpec:
        """The specialist of that name."""
        return cast(ExpertSpec, self._get("experts", name))

    def gate(self, name: str) -> GateSpec:
        """The gate of that name."""
        return cast(GateSpec, self._get("gates", name))

    def token_gate(self, name: str) -> TokenGateSpec:
        """The token gate of that name."""
        return cast(TokenGateSpec, self._get("token_gates", name))

    def dataset(self, name: str) -> DatasetSpec:
        """The loader of that name."""
        return cast(DatasetSpec, self._get("datasets", name))

    def metric(self, name: str) -> MetricSpec:
        """The metric of that name."""
        return cast(MetricSpec, self._get("metrics", name))

    def map_metric(self, name: str) -> MapMetricSpec:
        """The map metric of that name."""
        return cast(MapMetricSpec, self._get("map_metrics", name))

    def metric_name(self, name: str) -> str:
        """The qualified name of a metric, of scores or of maps, by its short or qualified one."""
        full = self.full_name("metrics", name)
        of_maps = self.full_name("map_metrics", name)
        return of_maps if full not in self.names("metrics") and of_maps != name else full

    def task(self, name: str) -> TaskSpec:
        """The task of that name."""
        return cast(TaskSpec, self._get("tasks", name))

    def health_check(self, name: str) -> HealthCheckSpec:
        """The health check of that name."""
        return cast(HealthCheckSpec, self._get("health_checks", name))

    def report_section(self, name: str) -> ReportSectionSpec:
        """The report section of that name."""
        return cast(ReportSectionSpec, self._get("report_sections", name))

    def command(self, name: str) -> CommandSpec:
        """The command of that name."""
        return cast(CommandSpec, self._get("commands", name))

    def used(self) -> list[Plugin]:
        """The plugins that something was taken from so far."""
        return [plugin for plugin in self.plugins if _key(plugin) in self._activated]

    def tell(self, event: Event, about: RunEvent) -> None:
        """Passes an event to every plugin that listens to it, one at a time.

        A listener that fails is logged as a warning, and the others still get the event. What one
        changes in the process or in the run's files is put back.

        Args:
            event: `run_started` or `run_finished`.
            about: The run.

        Raises:
            PluginError: In strict mode, a listener failed.
        """
        listening = [
            plugin
            for plugin in self.plugins
            if plugin.state is State.ACTIVE and plugin.manifest and event in plugin.manifest.listens
        ]
        if not listening:
            return
        with keeping(about.folder) as kept:
            for plugin in listening:
                try:
                    tell(plugin, functools.partial(self.activated, plugin), event, about, kept)
                except PluginError as error:
                    if self.strict:
                        raise
                    _logger.warning("%s", error)

    def load_dataset(self, data: str, *, seed: int) -> Dataset:
        """Loads `LOADER` or `LOADER=PATH`.

        Raises:
            UsageError: No such loader, or a path if none is taken or none if one is needed.
            DataError: The loader refuses the data.
        """
        name, path = loader_and_path(data)
        spec = self.dataset(name)
        wanted = {"required": (True,), "optional": (True, False), "refused": (False,)}
        if (path is not None) not in wanted[spec.takes_path]:
            raise UsageError(
                f"the loader {name} needs a path" if path is None else f"{name} takes no path",
                whose=f"--data {data}",
                fix=f"write --data {name}=PATH" if path is None else f"write --data {name}",
                code="usage/loader-path",
            )
        return self._load(spec, self.owner("datasets", name), path, seed)

    def _load(self, spec: DatasetSpec, owner: Plugin, path: Path | None, seed: int) -> Dataset:
        from moekit.data.loaded import check_dataset
        from moekit.data.samples import Dataset

        try:
            with settings_kept():
                dataset = spec.load(path, seed)
            if not isinstance(dataset, Dataset):
                raise TypeError(f"it returned a {type(dataset).__name__}, not a moekit.Dataset")
        except BaseException as error:  # a plugin may raise anything, SystemExit included
            if is_nobodys(error):
                raise
            raise PluginError(
                f"the loader {spec.name} failed: {type(error).__name__}: {error}",
                whose=f"{owner.distribution} {owner.version}",
                fix=f"check it with `moekit plugins check {owner.distribution}`",
                code="plugin/loader-failed",
            ) from error
        return check_dataset(
            dataset, whose=f"the loader {spec.name} of {owner.distribution} {owner.version}"
        )

    def names(self, kind: Kind) -> dict[str, Plugin]:
        """Qualified names of what the usable plugins promise, without importing any."""
        return {
            f"{plugin.distribution}/{name}": plugin
            for plugin in self.plugins
            if plugin.state is State.ACTIVE and plugin.manifest is not None
            for name in plugin.manifest.provided(kind)
        }

    def owner(self, kind: Kind, name: str) -> Plugin:
        """The plugin that provides a name, short or qualified.

        Raises:
            UsageError: Nobody provides it, or several do and the name is short.
            PluginError: The plugin that promises it cannot be used.
        """
        names = self.names(kind)
        full = [known for known in names if _same(name, known)]
        if len(full) == 1:
            return names[full[0]]
        if full:
            raise UsageError(
                f"several plugins provide {_singular(kind)} {name!r}",
                whose=name,
                fix=f"use one of the full names: {', '.join(sorted(full))}",
                code="usage/ambiguous-name",
            )
        raise self._not_found(kind, name, names)

    def record(self, kind: Kind, name: str) -> Any:
        """The record of a kind and a name; its plugin is imported.

        Raises:
            PluginError: The plugin does not work.
            UsageError: There is no such record.
        """
        return self._get(kind, name)

    def _get(self, kind: Kind, name: str) -> Any:
        plugin = self.owner(kind, name)
        record = self.activated(plugin).records[kind, name.rpartition("/")[2]]
        return record if plugin.distribution == _HOME else guarded_record(kind, record)

    def activated(self, plugin: Plugin) -> Activated:
        """A plugin's hooks, imported when they are first asked for.

        Raises:
            PluginError: It cannot be used; its state becomes `broken`.
        """
        key = _key(plugin)
        if key not in self._activated:
            try:
                self._activated[key] = activate(plugin)
            except PluginError as error:
                plugin.fail(State.BROKEN, error.what)
                raise
        return self._activated[key]

    def _not_found(self, kind: Kind, name: str, names: Iterable[str]) -> MoekitError:
        for plugin in self.plugins:
            promised = plugin.manifest.provided(kind) if plugin.manifest else ()
            if plugin.state is not State.ACTIVE and name.rpartition("/")[2] in promised:
                return PluginError(
                    f"{_singular(kind)} {name!r} is not usable: its plugin is {plugin.state.value}",
                    whose=f"{plugin.distribution} {plugin.version}",
                    fix=plugin.reason,
                    code="plugin/not-usable",
                )
        shorts = sorted(known.partition("/")[2] for known in names)
        near = difflib.get_close_matches(name, shorts, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return UsageError(
            f"no {_singular(kind)} has the name {name!r}",
            whose=name,
            fix=f"{hint}installed: {', '.join(shorts) or 'none; install a kit'}",
            code="usage/unknown-name",
        )


def _same(name: str, full: str) -> bool:
    """Whether a short or qualified name means a qualified one."""
    distribution, _, short = full.partition("/")
    given, slash, last = name.rpartition("/")
    return last == short and (not slash or canonical(given) == canonical(distribution))


def _singular(kind: Kind) -> str:
    return RECORD_KINDS[kind].singular.replace("-", " ")


def refuse_unusable(plugin: Plugin) -> None:
    """What strict mode does.

    Raises:
        PluginError: The plugin is neither active nor disabled.
    """
    if plugin.state not in (State.ACTIVE, State.DISABLED):
        raise PluginError(
            f"a plugin is {plugin.state.value}, and strict mode allows none that is",
            whose=f"{plugin.distribution} {plugin.version}",
            fix=plugin.reason,
            code="plugin/not-usable",
        )


def _key(plugin: Plugin) -> str:
    return f"{plugin.distribution}/{plugin.entry}"
