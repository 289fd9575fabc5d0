"""What the README says can be typed can be typed."""

import re
import runpy
import shlex
import tomllib
import types

import click
import pytest

from moekit import Registry
from moekit.plugins.manifest import parse_manifest


@pytest.fixture(scope="module")
def blocks(root):
    """The fenced code blocks of the README and the pages of `docs/`, by language."""
    found = {}
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        for language, body in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
            found.setdefault(language, []).append(body)
    return found


def pages(root):
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def test_each_command_exists_with_its_options(blocks):
    from moekit.cli.main import cli

    lines = [line for body in blocks["bash"] for line in body.splitlines()]
    typed = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("moekit ")]
    assert len(typed) >= 5
    for arguments in typed:
        name, *rest = arguments
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        command.make_parser(click.Context(command)).parse_args(list(rest))


def test_each_example_of_a_help_page_can_be_typed():
    from moekit.cli.main import cli

    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in cli.list_commands(context)]
    typed = [
        shlex.split(line)[1:]
        for command in commands
        for line in (command.epilog or "").splitlines()
        if line.strip().startswith("moekit ")
    ]
    assert len(typed) >= 7
    for name, *rest in typed:
        command = cli.get_command(click.Context(cli), name)
        command.make_parser(click.Context(command)).parse_args(list(rest))


def test_the_python_of_the_readme_runs(blocks, tmp_path):
    scripts = [body for body in blocks["python"] if "hookimpl" not in body]
    assert len(scripts) == 2
    for body, images in zip(scripts, (2, 1), strict=True):
        script = tmp_path / "readme.py"
        script.write_text(body)
        values = runpy.run_path(str(script))
        assert values["features"].final_BND.shape == (images, 257, 384)


def test_the_plugin_of_the_readme_is_valid(blocks):
    entry, manifest = (tomllib.loads(body) for body in blocks["toml"])
    assert entry["project"]["entry-points"]["moekit.plugins"]
    assert parse_manifest(blocks["toml"][1]).provides.metrics == ("base_rate",)
    assert manifest["hooks"] == "my_lab.hooks"


def test_the_hooks_of_the_readme_work_in_a_registry(blocks):
    module = types.ModuleType("my_lab_hooks")
    (body,) = (body for body in blocks["python"] if "hookimpl" in body)
    exec(compile(body, "readme", "exec"), module.__dict__)
    registry = Registry()
    registry.register(module, distribution="my-lab")
    assert registry.metric("my-lab/base_rate").summary == "share of positives"


def test_what_the_readme_links_to_is_there(root):
    for page in pages(root):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.mark.parametrize("name", ["01_backbone_and_routing", "02_own_expert_and_gate"])
def test_the_example_runs(root, capsys, name):
    runpy.run_path(str(root / "examples" / f"{name}.py"))
    assert "experts" in capsys.readouterr().out or name.startswith("02")


def test_nothing_tells_to_install_from_an_index_what_no_index_has(root):
    told = []
    for folder in ("core", "docs", "domain_kits", "examples", "plugins"):
        told += [
            path for path in (root / folder).rglob("*") if path.suffix in (".md", ".py", ".j2")
        ]
    for path in (root / "README.md", *told):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.search(r"pip (install|wheel)\b[^#`&]*[\s\"']moekit\b", line), (path, line)
