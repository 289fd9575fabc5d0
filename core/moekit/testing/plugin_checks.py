"""Checks of the plugin itself: manifest, import, hooks, what remains when it is switched off."""

from __future__ import annotations

import dataclasses
from typing import cast

from moekit.contract.commands import HealthCheckSpec
from moekit.contract.record_kinds import RECORD_KINDS
from moekit.contract.report import ReportSection, ReportSectionSpec
from moekit.errors import PluginError
from moekit.files import sha256
from moekit.plugins.activation import activate
from moekit.plugins.discovery import State
from moekit.plugins.manifest import Event, Manifest
from moekit.plugins.registry import Registry
from moekit.report.sections import read_context
from moekit.testing.check import check
from moekit.testing.examples import private_folders
from moekit.testing.reference import reference_events
from moekit.testing.subject import Subject
from moekit.testing.verdicts import Blocked, ConformanceError, require


def _manifest(subject: Subject) -> Manifest:
    manifest = subject.plugin.manifest
    if manifest is None:
        raise Blocked(subject.plugin.reason)
    return manifest


@check("manifest")
def valid(subject: Subject, _: str) -> None:
    """The manifest is read, fits this moekit, and nothing that it needs is missing."""
    require(subject.plugin.state is State.ACTIVE, subject.plugin.reason)


@check("manifest")
def card(subject: Subject, _: str) -> None:
    """A plugin with kits or experts says what they are for, what not, and where they fail."""
    manifest = _manifest(subject)
    needed = bool(manifest.provided("kits") or manifest.provided("experts"))
    require(manifest.card is not None or not needed, "plugin.toml needs a table [card]")


@check("manifest")
def inputs(subject: Subject, _: str) -> None:
    """A plugin with kits declares its inputs with units and ranges."""
    manifest = _manifest(subject)
    require(
        bool(manifest.inputs) or not manifest.provided("kits"),
        "plugin.toml needs at least one [[inputs]]",
    )


@check("manifest")
def weights(subject: Subject, _: str) -> None:
    """Each declared file of weights is there and has the declared hash."""
    for entry in _manifest(subject).weights:
        folder = subject.plugin.folder
        path = folder / entry.file if folder is not None else None
        if path is None or not path.is_file():
            raise ConformanceError(f"{entry.file} is not in the package")
        require(sha256(path) == entry.sha256, f"{entry.file} has another SHA-256 than declared")


@check("import")
def ends(subject: Subject, _: str) -> None:
    """Importing the plugin and calling its hooks comes to an end."""
    require("died" not in subject.probe, f"the import {subject.probe.get('died')}")


@check("import")
def is_quiet(subject: Subject, _: str) -> None:
    """Importing the plugin prints nothing."""
    require(not _seen(subject, "output"), f"it printed {_seen(subject, 'output')!r}")


@check("import")
def writes_no_file(subject: Subject, _: str) -> None:
    """Importing the plugin writes, moves and deletes no file."""
    require(not _seen(subject, "files"), f"it touched {_seen(subject, 'files')}")


@check("import")
def opens_no_socket(subject: Subject, _: str) -> None:
    """Importing the plugin talks to no network and starts no process."""
    found = [*_seen(subject, "sockets"), *_seen(subject, "processes")]
    require(not found, f"it called {found}")


@check("import")
def changes_no_global_state(subject: Subject, _: str) -> None:
    """Importing the plugin leaves random states, defaults of torch, folder and logging alone."""
    require(not _seen(subject, "changed"), f"it changed {', '.join(_seen(subject, 'changed'))}")


@check("hooks")
def are_accepted(subject: Subject, _: str) -> None:
    """Its hooks are known, return what they promise, and agree with the manifest."""
    _alive(subject)
    try:
        activate(subject.plugin)
    except PluginError as error:
        raise ConformanceError(error.what) from error


@check("hooks")
def give_the_same_again(subject: Subject, _: str) -> None:
    """Called again, the hooks return what the manifest promises once more."""
    _alive(subject)
    try:
        activate(subject.plugin)
    except PluginError as error:
        raise Blocked(error.what) from error
    try:
        activate(subject.plugin)
    except PluginError as error:
        raise ConformanceError(f"the second time, {error.what}") from error


@check("disabling")
def takes_its_names_away(subject: Subject, _: str) -> None:
    """Switched off, nothing of it is found, and asking for it says why."""
    registry = Registry(disabled=[subject.plugin.distribution], strict=False)
    for kind in RECORD_KINDS:
        left = [
            name
            for name, owner in registry.names(kind).items()
            if owner.distribution == subject.plugin.distribution
        ]
        require(not left, f"still there: {left}")


@check("disabling")
def leaves_the_others_alone(subject: Subject, _: str) -> None:
    """Switched off, everybody else provides what they provided."""
    off = Registry(disabled=[subject.plugin.distribution], strict=False)
    for kind in RECORD_KINDS:
        before = {
            name
            for name, owner in subject.registry.names(kind).items()
            if owner.distribution != subject.plugin.distribution
        }
        after = set(off.names(kind))
        require(before == after, f"{kind} that came or went: {sorted(before ^ after)}")


@check("health-check")
def answers(subject: Subject, name: str) -> None:
    """It answers None or one sentence, and raises nothing."""
    spec: HealthCheckSpec = subject.record("health_checks", name)
    answer = spec.run()
    require(answer is None or (isinstance(answer, str) and answer != ""), f"it gave {answer!r}")


@check("report-section")
def is_made_from_a_run(subject: Subject, name: str) -> None:
    """From a run it makes a section: a title, text, tables whose rows fit their columns."""
    spec: ReportSectionSpec = subject.record("report_sections", name)
    require(bool(spec.kits and spec.summary.strip()), "it names no kit, or has no summary")
    with private_folders() as folder:
        reference_events(folder / "run", "run_finished")
        section = spec.render(read_context(folder / "run"))
    if not isinstance(section, ReportSection):
        raise ConformanceError("render must return a moekit.ReportSection")
    texts = [section.title, *section.paragraphs]
    for table in section.tables:
        texts += [*table.columns, *(cell for row in table.rows for cell in row)]
        wrong = [row for row in table.rows if len(row) != len(table.columns)]
        require(not wrong, f"a row does not fit its {len(table.columns)} columns: {wrong[:1]}")
    require(all(isinstance(text, str) for text in texts), "a cell is no text")


@check("report-section")
def is_made_from_scores_that_are_gone(subject: Subject, name: str) -> None:
    """Without the scores of the run it makes a section all the same."""
    spec: ReportSectionSpec = subject.record("report_sections", name)
    with private_folders() as folder:
        reference_events(folder / "run", "run_finished")
        context = read_context(folder / "run")
    section = spec.render(dataclasses.replace(context, predictions=None, validation=None))
    require(bool(section.title.strip()), "its title is empty")


@check("listener")
def hears_a_run_and_leaves_it_alone(subject: Subject, event: str) -> None:
    """When a run begins or ends, it raises nothing and changes no file of the run."""
    _alive(subject)
    with private_folders() as folder:
        run = folder / "run"
        events = reference_events(run, event)
        before = {path: sha256(path) for path in run.rglob("*") if path.is_file()}
        alone = Registry([subject.plugin], strict=True)
        try:
            for about in events:
                alone.tell(cast(Event, event), about)
        except PluginError as error:
            raise ConformanceError(error.what) from error
        for path, was in before.items():
            require(path.is_file() and sha256(path) == was, f"it changed {path.name}")


def _alive(subject: Subject) -> None:
    if "died" in subject.probe:
        raise Blocked(f"its import {subject.probe['died']}")


def _seen(subject: Subject, what: str) -> list[str] | str:
    _alive(subject)
    if subject.probe["error"]:
        raise Blocked(subject.probe["error"])
    found: list[str] | str = subject.probe[what]
    return found
