"""Sections of a report that plugins add."""

from __future__ import annotations

import logging
from pathlib import Path

from moekit.contract.report import ReportContext, ReportSection, ReportTable
from moekit.errors import PluginError
from moekit.files import read_json
from moekit.plugins.registry import Registry
from moekit.tasks.score.predictions import Predictions

_logger = logging.getLogger(__name__)


def read_context(run: Path) -> ReportContext:
    """What sections are made from, as far as the run folder has it.

    Raises:
        DataError: A file is damaged.
    """
    record = run / "run.json"
    return ReportContext(
        result=read_json(run / "result.json"),
        record=read_json(record) if record.exists() else {},
        predictions=_read(run / "predictions.csv"),
        validation=_read(run / "validation.csv"),
    )


def plugin_sections(run: Path, registry: Registry) -> list[ReportSection]:
    """The sections that installed plugins add to a run's report, in the order of their names.

    A section that cannot be made says so in its place, and names its plugin.
    """
    context = read_context(run)
    sections = []
    for name, owner in sorted(registry.names("report_sections").items()):
        try:
            spec = registry.report_section(name)
            if context.result["kit"] in spec.kits:
                sections.append(_checked(spec.render(context)))
        except Exception as error:  # a plugin may raise anything
            if isinstance(error, PluginError) and registry.strict:
                raise
            _logger.warning("the report section %s failed: %s", name, error)
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            sections.append(
                ReportSection(
                    title=name,
                    paragraphs=(
                        f"This section could not be made ({text}). It is of {owner.distribution} "
                        f"{owner.version}; check it with `moekit plugins check`.",
                    ),
                )
            )
    return sections


def _checked(section: object) -> ReportSection:
    if not isinstance(section, ReportSection) or not all(
        isinstance(table, ReportTable) for table in section.tables
    ):
        raise TypeError("it returned something other than a moekit.ReportSection")
    return section


def _read(path: Path) -> Predictions | None:
    return Predictions.read_csv(path) if path.exists() else None
