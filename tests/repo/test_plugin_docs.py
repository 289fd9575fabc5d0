"""The pages for plugin authors say what the code does."""

from __future__ import annotations

import json
import re
import sys
import tomllib

import pytest

from moekit.cli.main import main
from moekit.plugins.manifest import json_schema, parse_manifest
from moekit.plugins.reference import render
from moekit.plugins.scaffold import new_plugin
from moekit.testing import run_checks


def test_the_reference_is_rendered_from_the_code(root):
    assert (root / "plugins" / "REFERENCE.md").read_text(encoding="utf-8") == render()


def test_the_schema_is_exported(root):
    text = (root / "plugins" / "manifest.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize("page", ["TUTORIAL.md", "REFERENCE.md", "BROKEN.md"])
def test_what_the_pages_link_to_is_there(root, page):
    text = (root / "plugins" / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (root / "plugins" / target).exists(), target


@pytest.fixture
def tutorial(root):
    """The code blocks of the tutorial: commands, and the content of files by name."""
    text = (root / "plugins" / "TUTORIAL.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    commands = [line for kind, body in blocks if kind == "bash" for line in body.splitlines()]
    files = {}
    for kind, body in blocks:
        if kind != "bash":
            first, _, rest = body.partition("\n")
            files[first.removeprefix("# ")] = rest
    return commands, files


@pytest.fixture
def written(tutorial, tmp_path, monkeypatch):
    """The tutorial's package, installed by hand."""
    _, files = tutorial
    new_plugin("my-contrast", "expert", tmp_path)
    home = tmp_path / "my-contrast"
    for name, text in files.items():
        assert (home / name).is_file(), name
        (home / name).write_text(text)
    info = home / "my_contrast-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-contrast\nVersion: 0.1.0\n")
    entries = tomllib.loads((home / "pyproject.toml").read_text())["project"]["entry-points"]
    ((name, value),) = entries["moekit.plugins"].items()
    (info / "entry_points.txt").write_text(f"[moekit.plugins]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(home)
    yield home
    for name in [name for name in sys.modules if name.startswith("my_contrast")]:
        del sys.modules[name]


def test_the_plugin_of_the_tutorial_conforms(written):
    assert parse_manifest((written / "my_contrast" / "plugin.toml").read_text()).card
    report = run_checks("my-contrast")
    assert not report.failures
    assert report.ran == report.expected == 29


def test_the_expert_without_its_zeros_fails_as_the_tutorial_says(written):
    path = written / "my_contrast" / "expert.py"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "zeros_(" not in line))
    failures = {failure.id for failure in run_checks("my-contrast").failures}
    assert failures == {"expert/my-contrast/starts-at-zero"}


def test_the_five_commands_change_the_routing_page_of_an_evaluation(
    tutorial, written, tmp_path, monkeypatch, capsys
):
    from moekit.builtin.loaders.folder import write_example

    commands, _ = tutorial
    five = [line.split() for line in commands[:5]]
    assert [line[0] for line in five] == ["moekit", "pip", "moekit", "moekit", "moekit"]
    (tmp_path / "data").mkdir()
    write_example(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for line in (*five[2:], ["moekit", "report", "runs/contrast"]):
        words = [word.replace("elpv", f"folder={tmp_path / 'data'}") for word in line[1:]]
        if line[1] == "adapt":
            words += ["--epochs", "1", "--views", "1", "--image-size", "56"]
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0, capsys.readouterr().err
    routing = json.loads((tmp_path / "runs" / "contrast" / "routing.json").read_text())
    options = [entry["option"] for entry in routing["specialists"]]
    assert "my-contrast" in options
    assert "my-contrast" in (tmp_path / "runs" / "contrast" / "report.html").read_text()
