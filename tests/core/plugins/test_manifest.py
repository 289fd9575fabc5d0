"""The manifest: what `plugin.toml` may say."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from moekit.plugins.manifest import API_VERSION, is_compatible, parse_manifest

GOOD = """
name = "sample"
api = "1.0"
summary = "a plugin of the tests"
domain = "any"
hooks = "sample.hooks"

[provides]
kits = ["sample"]
metrics = ["one", "two_three-4"]

[[requires]]
module = "torch.nn"
install = "pip install torch"
"""


def test_a_manifest_says_what_a_plugin_provides_and_needs() -> None:
    manifest = parse_manifest(GOOD)
    assert manifest.name == "sample"
    assert manifest.hooks == "sample.hooks"
    assert manifest.provides.kits == ("sample",)
    assert manifest.provides.metrics == ("one", "two_three-4")
    assert manifest.provides.gates == ()
    assert [need.install for need in manifest.requires] == ["pip install torch"]


def test_a_manifest_cannot_be_changed() -> None:
    manifest = parse_manifest(GOOD)
    with pytest.raises(ValidationError):
        manifest.name = "other"  # type: ignore[misc]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


REFUSED = {
    "name in capitals": ('name = "sample"', 'name = "Sample"', "name: "),
    "name too long": ('name = "sample"', f'name = "{"x" * 41}"', "name: "),
    "no summary": ('summary = "a plugin of the tests"\n', "", "summary: Field required"),
    "empty summary": ('"a plugin of the tests"', '""', "summary: "),
    "summary of a page": ('"a plugin of the tests"', f'"{"x" * 121}"', "summary: "),
    "api of one number": ('api = "1.0"', 'api = "1"', "api: "),
    "api as a number": ('api = "1.0"', "api = 1.0", "api: "),
    "endless api": ('api = "1.0"', f'api = "{"1" * 5000}.0"', "api: "),
    "api of other digits": ('api = "1.0"', 'api = "\u0661.\u0660"', "api: "),
    "hooks with a path": ('"sample.hooks"', '"../sample"', "hooks: "),
    "unknown key": ("[provides]", 'colour = "red"\n[provides]', "colour: Extra inputs"),
    "unknown kind": ("kits =", "kitts =", "provides.kitts: Extra inputs"),
    "bad provided name": ('kits = ["sample"]', 'kits = ["a/b"]', "provides.kits.0: "),
    "text for a list": ('kits = ["sample"]', 'kits = "sample"', "provides.kits: "),
    "requirement without a command": (
        'install = "pip install torch"\n',
        "",
        "requires.0.install: Field required",
    ),
    "not TOML": ("[provides]", "[provides", "not TOML: "),
    "the same key twice": ("[provides]", 'name = "again"\n[provides]', "not TOML: "),
    "too deep": ("[provides]", f"deep = {'[' * 9000}\n[provides]", "not TOML: "),
}


@pytest.mark.parametrize(("old", "new", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_manifest_is_refused_with_the_name_of_the_field(
    old: str, new: str, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_manifest(changed(old, new))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"api: .*; summary: ") as caught:
        parse_manifest('name = "sample"\napi = "one"\nsummary = ""\n')
    assert "provides: Field required" in str(caught.value)


COMMANDS = '[provides.commands]\ncount = "Count files."\n\n[[requires]]'


def test_commands_are_declared_with_their_lines_of_help() -> None:
    manifest = parse_manifest(changed("[[requires]]", COMMANDS).replace('"1.0"', '"1.1"'))
    assert manifest.provides.commands == {"count": "Count files."}
    assert parse_manifest(GOOD).provides.commands == {}


def test_commands_need_the_version_that_they_came_with() -> None:
    with pytest.raises(ValueError, match=r"commands came with API 1\.1"):
        parse_manifest(changed("[[requires]]", COMMANDS))


def test_map_metrics_need_the_version_that_they_came_with() -> None:
    text = changed("[[requires]]", 'map_metrics = ["overlap"]\n\n[[requires]]')
    with pytest.raises(ValueError, match=r"map metrics came with API 1\.2"):
        parse_manifest(text.replace('"1.0"', '"1.1"'))
    assert parse_manifest(text.replace('"1.0"', '"1.2"')).provides.map_metrics == ("overlap",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("count", '"Count it"'),
        ("count", '"a/b"'),
        ('"Count', '"\\u001b[2J'),
        ('"Count', f'"{"x" * 120}'),
    ],
)
def test_an_improper_command_is_refused(old: str, new: str) -> None:
    text = changed("[[requires]]", COMMANDS).replace('"1.0"', '"1.1"').replace(old, new)
    with pytest.raises(ValueError, match=r"provides\.commands"):
        parse_manifest(text)


@pytest.mark.parametrize(
    ("api", "compatible"),
    [
        *((api, True) for api in ("1.0", "1.1", "1.2", "2.0")),
        *((api, False) for api in ("1.3", "0.9", "2.1", "3.0", "0.0")),
    ],
)
def test_a_plugin_of_a_known_major_and_no_newer_minor_is_compatible(
    api: str, compatible: bool
) -> None:
    assert API_VERSION == "2.0", "the cases belong to this version"
    assert is_compatible(api) == compatible
