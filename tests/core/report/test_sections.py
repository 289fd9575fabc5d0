"""Sections that plugins add to a report: escaped, for their kits alone, and never in its way."""

import pytest

import moekit
from moekit import Registry, ReportSection, ReportSectionSpec, ReportTable
from moekit.report.report import render_report
from moekit.report.sections import read_context
from moekit.testing.reference import reference_events


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections") / "run"
    reference_events(folder, "run_finished")
    return folder


def page_with(run, render, *, kits=("reference",)):
    class Hooks:
        @moekit.hookimpl
        def moekit_report_sections(self):
            return [ReportSectionSpec(name="extra", kits=kits, render=render, summary="-")]

    registry = Registry(strict=False)
    registry.register(Hooks(), distribution="extras")
    return render_report(run, registry=registry).read_text(encoding="utf-8")


def table(context):
    rows = ((str(context.result["n"]), "<script>alert(1)</script>"),)
    return ReportSection(
        title="An extra & more",
        paragraphs=("first <b>line</b>",),
        tables=(ReportTable(columns=("n", "<i>"), rows=rows),),
    )


def test_a_section_is_shown_and_escaped(run):
    page = page_with(run, table)
    assert "An extra &amp; more" in page
    assert "first &lt;b&gt;line&lt;/b&gt;" in page
    assert "<script>alert" not in page


def test_a_section_of_another_kit_is_left_out(run):
    assert "An extra" not in page_with(run, table, kits=("other",))


@pytest.mark.parametrize(
    "render",
    [
        lambda context: 1 / 0,
        lambda context: "no section",
        lambda context: ReportSection(title="x", tables=("no table",)),
    ],
)
def test_a_section_that_fails_says_so_in_its_place_and_the_report_is_written(run, render, caplog):
    page = page_with(run, render)
    assert "This section could not be made" in page
    assert "It is of extras 0" in page
    assert "Provenance" in page
    assert "extras/extra" in caplog.text


def test_the_context_holds_the_files_of_the_run(run):
    context = read_context(run)
    assert context.result["kit"] == "reference"
    assert context.record["done"]
    assert len(context.predictions) == context.result["n"]
    assert len(context.validation) == 8
