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


SECOND_PART = "\n# A new task from nothing\n"
LINES_OF_A_TASK = 150


def blocks_of(text):
    """The code blocks of a text: commands, and named pieces of files."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    commands = [line for kind, body in blocks if kind == "bash" for line in body.splitlines()]
    pieces = []
    for kind, body in blocks:
        if kind != "bash":
            first, _, rest = body.partition("\n")
            pieces.append((first.removeprefix("# "), rest))
    return commands, pieces


@pytest.fixture
def tutorial(root):
    """The code blocks of the first part: commands, and the content of files by name."""
    text = (root / "plugins" / "TUTORIAL.md").read_text(encoding="utf-8")
    commands, pieces = blocks_of(text.partition(SECOND_PART)[0])
    return commands, dict(pieces)


@pytest.fixture
def second_part(root):
    """The code blocks of the second part: commands, and pieces of files in their order."""
    text = (root / "plugins" / "TUTORIAL.md").read_text(encoding="utf-8")
    return blocks_of(text.partition(SECOND_PART)[2])


def install_by_hand(home, monkeypatch):
    """Makes a package found as if pip had installed it."""
    name, package = home.name, home.name.replace("-", "_")
    info = home / f"{package}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    entries = tomllib.loads((home / "pyproject.toml").read_text())["project"]["entry-points"]
    ((entry, value),) = entries["moekit.plugins"].items()
    (info / "entry_points.txt").write_text(f"[moekit.plugins]\n{entry} = {value}\n")
    monkeypatch.syspath_prepend(home)


def forget(package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


@pytest.fixture
def written(tutorial, tmp_path, monkeypatch):
    """The tutorial's package, installed by hand."""
    _, files = tutorial
    new_plugin("my-contrast", "expert", tmp_path)
    home = tmp_path / "my-contrast"
    for name, text in files.items():
        assert (home / name).is_file(), name
        (home / name).write_text(text)
    install_by_hand(home, monkeypatch)
    yield home
    forget("my_contrast")


def test_the_plugin_of_the_tutorial_conforms(written):
    assert parse_manifest((written / "my_contrast" / "plugin.toml").read_text()).card
    report = run_checks("my-contrast")
    assert not report.failures
    assert report.ran == report.expected == 30


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


@pytest.fixture
def counting(second_part, written, tmp_path, monkeypatch):
    """The package of the second part, installed by hand next to that of the first."""
    _, pieces = second_part
    new_plugin("my-count", "task", tmp_path)
    home = tmp_path / "my-count"
    for name, text in pieces:
        if name != TASK_FILE:
            (home / name).write_text(text)
    install_by_hand(home, monkeypatch)
    yield home
    forget("my_count")


TASK_FILE = "my_count/task.py"


def test_the_task_of_the_tutorial_is_the_one_that_the_command_writes(second_part, tmp_path):
    commands, pieces = second_part
    assert commands[0] == "moekit plugins new my-count --kind task"
    new_plugin("my-count", "task", tmp_path)
    written = (tmp_path / "my-count" / TASK_FILE).read_text()
    places = [written.find(text.strip()) for name, text in pieces if name == TASK_FILE]
    assert len(places) == 7
    assert places == sorted(places)
    assert places[0] > 0


def test_the_code_of_the_task_is_short(second_part):
    _, pieces = second_part
    code = [text for name, text in pieces if name.endswith(".py")]
    lines = [line for text in code for line in text.splitlines() if line.strip()]
    assert 100 < len(lines) < LINES_OF_A_TASK


def test_the_counting_plugin_conforms(counting):
    report = run_checks("my-count")
    assert not report.failures
    assert report.ran == report.expected == 68


def test_the_counting_kit_learns_answers_and_says_how_well(
    second_part, counting, tmp_path, monkeypatch, capsys
):
    from my_count.data import write_example

    commands, _ = second_part
    used = [line.split() for line in commands if line.split()[1] in USED]
    assert [line[1] for line in used] == USED
    images = tmp_path / "images"
    images.mkdir()
    write_example(images)
    monkeypatch.chdir(tmp_path)
    for line in used:
        words = [word.replace("PATH", str(images)) for word in line[1:]]
        if line[1] == "adapt":
            words += ["--epochs", "1", "--views", "1", "--image-size", "56"]
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0, capsys.readouterr().err
    result = json.loads((tmp_path / "runs" / "count" / "result.json").read_text())
    assert (result["task"], set(result["metrics"])) == ("my-count", {"mean_error", "exact_share"})
    assert result["comparison"]["metrics"]["mean_error"]["ci95"]
    lines = (tmp_path / "answers" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "file,count,verdict,overlay,error"
    assert len(lines) == 1 + len(list(images.iterdir()))


USED = ["adapt", "evaluate", "predict"]
