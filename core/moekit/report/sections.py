"""Sections of a report that the task and plugins give, and what they are made from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moekit.contract.kits import KitSpec
from moekit.contract.report import ReportContext, ReportSection
from moekit.contract.tasks import TaskSpec
from moekit.errors import DataError, MoekitError, PluginError, is_nobodys
from moekit.plugins.registry import Registry
from moekit.report.drawing import Drawn, draw
from moekit.runs.run import MEAN_VALIDATION, check_hashes
from moekit.runs.schema import read_record, read_result
from moekit.sealed import unsealed_note

_logger = logging.getLogger(__name__)
_HOME = "moekit"


def task_name(result: Mapping[str, Any], registry: Registry) -> str:
    """Name of a result's task; a short name means moekit's first.

    Results of before API 2.0 name none and are of the task that kits have by default.
    """
    return registry.full_name("tasks", str(result.get("task") or KitSpec.task), _HOME)


def task_of(result: Mapping[str, Any], registry: Registry) -> TaskSpec | None:
    """The task of a result; None if no plugin that is installed and works provides it.

    Raises:
        PluginError: In strict mode, its plugin does not work.
    """
    try:
        return registry.task(task_name(result, registry))
    except MoekitError as error:
        if registry.strict and isinstance(error, PluginError):
            raise
        return None


def read_context(run: Path, registry: Registry | None = None) -> ReportContext:
    """What sections are made from, as far as the run folder has it.

    Args:
        run: A run folder with result.json.
        registry: Provides the task that reads the tallies; the installed plugins if None.

    Raises:
        DataError: A file is damaged, or the tallies are not those that the result was computed
            from.
    """
    registry = registry or Registry()
    result, record = read_result(run / "result.json"), run / "run.json"
    task = task_of(result, registry)
    about = read_record(record) if record.exists() else {}
    _check_files(run, "predictions", result, "result.json")
    _check_files(run, "routing", result, "result.json")
    _check_files(run, "history", about, "run.json")
    _check_files(run, MEAN_VALIDATION, about, "run.json")
    _check_files(run, "validation", about or result, "run.json" if about else "result.json")
    tallies = _load(task, run, "predictions")
    validation = _load(task, run, "validation")
    for tally in tallies:
        if len(tally) != result.get("n"):
            raise DataError(
                f"the stored predictions hold {len(tally)} images and result.json counts "
                f"{result.get('n')}",
                whose=str(run),
                fix="run `moekit evaluate` again",
                code="data/damaged-run",
            )
    return ReportContext(
        result=result,
        record=about,
        predictions=_predictions(tallies),
        validation=_predictions(validation),
        tallies=tallies,
        validation_tallies=validation,
    )


def unverified(context: ReportContext) -> str:
    """Sentences on files that have no hash, such as those of earlier versions; empty without."""
    sources = {"result.json": context.result, "run.json": context.record}
    known = {name: one for name, one in sources.items() if one}
    told = [note for name, one in known.items() for note in unsealed_note(one, name)]
    return " ".join([*(f"{note}." for note in told), *_without_files(known)])


def _without_files(known: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    lacking = [name for name, one in known.items() if not isinstance(one.get("files"), Mapping)]
    if not lacking:
        return ()
    return (
        f"The tallies behind this page were recorded before checksums and are not verified: "
        f"{' and '.join(lacking)} hold{'s' if len(lacking) == 1 else ''} no hash of them, since an "
        "earlier version wrote the run.",
    )


def task_sections(context: ReportContext, registry: Registry) -> list[Drawn]:
    """The sections that the task gives, in its order; one that says so if they cannot be made."""
    name = task_name(context.result, registry)

    def make() -> list[Drawn]:
        return [draw(section) for section in registry.task(name).show.sections(context)]

    said = "The sections of the task could not be made ({}); check it with `moekit plugins check`."
    return _attempt(name, said, make, registry)


def plugin_sections(context: ReportContext, registry: Registry) -> list[Drawn]:
    """The sections that installed plugins add to a run's report, in the order of their names.

    A section that cannot be made says so in its place, and names its plugin.
    """
    task = task_name(context.result, registry).rpartition("/")[2]
    sections = []
    for name, owner in sorted(registry.names("report_sections").items()):

        def make(name: str = name) -> list[Drawn]:
            spec = registry.report_section(name)
            wanted = context.result["kit"] in spec.kits and task in spec.tasks
            return [draw(spec.render(context))] if wanted else []

        said = (
            "This section could not be made ({}). "
            f"It is of {owner.distribution} {owner.version}; check it with `moekit plugins check`."
        )
        sections += _attempt(name, said, make, registry)
    return sections


def _attempt(
    name: str, said: str, make: Callable[[], list[Drawn]], registry: Registry
) -> list[Drawn]:
    """What `make` returns, or a section that says why there is none; `said` has a place for it."""
    try:
        return make()
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt | MemoryError) or (
            isinstance(error, PluginError) and registry.strict
        ):
            raise
        _logger.warning("the report section %s failed: %s", name, error)
        why = error.what if isinstance(error, MoekitError) else str(error)
        why = f"{type(error).__name__}: {why}" if why else type(error).__name__
        return [draw(ReportSection(title=name, paragraphs=(said.format(why),)))]


def _check_files(run: Path, stem: str, record: Mapping[str, Any], name: str) -> None:
    """Checks files against their hashes, if the record has some: earlier versions wrote none."""
    hashes = record.get("files")
    if isinstance(hashes, Mapping):
        check_hashes(run, hashes, stem, record=name)


def _load(task: TaskSpec | None, run: Path, stem: str) -> tuple[Any, ...]:
    """The tallies whose files begin with a stem; none if the files are gone."""
    if task is None or not any(run.glob(f"{stem}*")):
        return ()
    try:
        return tuple(task.judge.load(run, stem))
    except BaseException as error:  # as above
        if is_nobodys(error):
            raise
        _logger.warning("the task %s could not read %s: %s", task.name, stem, error)
        return ()


def _predictions(tallies: tuple[Any, ...]) -> Any:
    """What sections of API 1.x read: `predictions` of the kit's tally, if it has such."""
    return getattr(tallies[0], "predictions", None) if tallies else None
