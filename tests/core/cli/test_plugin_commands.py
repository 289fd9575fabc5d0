"""Commands of plugins: listed without an import, found by name, their faults attributed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moekit.cli.main import _COMMANDS
from moekit.plugins.commands import RESERVED, declared_commands
from moekit.plugins.entry_points import glance, manifests

HOOKS = """
import moekit

def build():
    import click

    @click.command()
    @click.argument("words", nargs=-1)
    @moekit.command_options
    @click.pass_context
    def command(ctx, words, as_json):
        '''A command of the tests.'''
        BODY
    return command

@moekit.hookimpl
def moekit_commands():
    return [moekit.CommandSpec(name="NAME", build=build, summary="A command.")]
"""
SAY = "moekit.print_json({'said': list(words)}) if as_json else click.echo(' '.join(words))"
MANIFEST = """
name = "tests"
api = "1.1"
summary = "a plugin of the tests"
domain = "any"
hooks = "PACKAGE.hooks"

[provides.commands]
NAME = "A command of PACKAGE."
"""


@pytest.fixture
def add(install):
    """Installs a plugin with one command."""

    def write(distribution, name="echo", body=SAY, hooks=HOOKS, manifest=MANIFEST):
        package = distribution.replace("-", "_")
        return install(
            distribution,
            hooks=hooks.replace("BODY", body).replace("NAME", name),
            manifest=manifest.replace("PACKAGE", package).replace("NAME", name),
        )

    return write


def test_help_lists_commands_with_their_lines_and_imports_no_plugin(moekit, add):
    add("lazy", hooks="raise RuntimeError('the plugin was imported')")
    outcome = moekit("--help")
    assert outcome.code == 0
    (line,) = [line for line in outcome.out.splitlines() if "A command of lazy." in line]
    assert line.split()[0] == "echo"
    assert "lazy.hooks" not in sys.modules


def test_a_command_is_called_with_its_options(moekit, add):
    add("some-plugin")
    assert moekit("echo", "hello", "you").out == "hello you\n"
    assert moekit("echo", "hello", "--json").json == {"said": ["hello"]}
    assert moekit("some-plugin/echo", "hello").out == "hello\n"
    assert moekit("Some_Plugin/echo", "hello").out == "hello\n"
    assert "A command of the tests." in moekit("echo", "--help").out


def test_a_plugin_is_activated_by_the_call_of_its_command_alone(moekit, add):
    add("first", name="one")
    add("second", name="two")
    moekit("one")
    assert "first.hooks" in sys.modules
    assert "second.hooks" not in sys.modules


def test_a_command_of_moekit_cannot_be_replaced(moekit, add):
    add("greedy", name="kits", body="click.echo('mine')")
    assert moekit("kits").out != "mine\n"
    assert moekit("greedy/kits").out == "mine\n"
    lines = [line.split()[0] for line in moekit("--help").out.splitlines() if line.strip()]
    assert lines.count("kits") == 1
    assert "greedy/kits" in lines


def test_all_commands_of_moekit_are_reserved():
    assert set(_COMMANDS) <= RESERVED


def test_a_name_of_two_plugins_is_a_conflict_and_the_full_names_work(moekit, add):
    add("alpha", body="click.echo('from alpha')")
    add("beta", body="click.echo('from beta')")
    outcome = moekit("echo")
    assert outcome.code == 2
    assert "[usage/ambiguous-name]" in outcome.err
    assert "alpha/echo, beta/echo" in outcome.err
    assert moekit("alpha/echo").out == "from alpha\n"
    assert moekit("beta/echo").out == "from beta\n"
    text = moekit("--help").out
    assert "alpha/echo" in text
    assert "beta/echo" in text


def test_switching_one_of_two_plugins_off_frees_the_short_name(moekit, add, monkeypatch):
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "")
    add("alpha", body="click.echo('from alpha')")
    add("beta", body="click.echo('from beta')")
    assert moekit("--disable-plugin", "alpha", "echo").out == "from beta\n"
    text = moekit("--help").out
    assert "A command of alpha." not in text
    assert " echo " in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"manifest": MANIFEST + "[wrong"}, None),
        ({"manifest": MANIFEST.replace('"1.1"', '"1.0"')}, "[plugin/not-usable]"),
        ({"manifest": MANIFEST.replace('"1.1"', '"9.0"')}, "[plugin/not-usable]"),
        ({"manifest": 'colour = "red"\n' + MANIFEST}, "colour: Extra inputs"),
        ({"manifest": MANIFEST + '[[requires]]\nmodule="nonesuch"\ninstall="get it"'}, "get it"),
        ({"hooks": "raise ValueError('no luck')"}, "ValueError: no luck"),
        ({"hooks": "import sys\nsys.exit(0)"}, "SystemExit: 0"),
        ({"hooks": "import moekit"}, "[plugin/not-as-declared]"),
        ({"hooks": HOOKS.replace("return command", "return 3")}, "[plugin/command-failed]"),
        ({"hooks": HOOKS.replace("import click", "import nonesuch")}, "ModuleNotFoundError"),
    ],
)
def test_a_command_of_a_plugin_that_is_not_usable_says_whose_it_is(moekit, add, options, words):
    add("faulty", **options)
    outcome = moekit("echo")
    if words is None:  # what is no TOML declares nothing
        assert outcome.code == 2
        assert "No such command" in outcome.err
    else:
        assert outcome.code == 3
        assert words in outcome.err
        assert "where: faulty 1.0" in outcome.err
        assert len(outcome.err.splitlines()) == 3
    assert moekit("--help").code == 0
    assert moekit("metrics").code == 0


def test_a_disabled_plugin_says_how_to_switch_it_on(moekit, add):
    add("some-plugin")
    moekit("plugins", "disable", "some-plugin")
    outcome = moekit("echo", "hello")
    assert outcome.code == 3
    assert "[plugin/not-usable]" in outcome.err
    assert "moekit plugins enable" in outcome.err
    assert "some-plugin" not in moekit("--help").out


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("raise moekit.DataError('bad', whose='it', fix='mend it')", 4, "moekit: bad [data/other]"),
        (
            "raise moekit.UsageError('bad', whose='it', fix='mend it')",
            2,
            "moekit: bad [usage/other]",
        ),
        ("raise click.UsageError('bad usage')", 2, "bad usage"),
        ("ctx.exit(1)", 1, ""),
        ("return 7", 0, ""),
        ("raise ValueError('no luck')", 3, "echo failed: ValueError: no luck"),
        ("import sys; sys.exit(0)", 3, "echo failed: SystemExit: 0"),
        ("raise OSError('gone')", 3, "echo failed: OSError: gone"),
        ("def f(): f()\n        f()", 3, "echo failed: RecursionError"),
        ("raise KeyboardInterrupt", 130, "stopped"),
    ],
)
def test_what_a_command_raises_has_its_code_and_its_owner(moekit, add, body, code, words):
    add("some-plugin", body=body)
    outcome = moekit("echo")
    assert outcome.code == code, outcome.err
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert ("where: some-plugin 1.0" in outcome.err) == (code == 3)


def test_debug_shows_where_a_command_failed(moekit, add):
    add("some-plugin", body="raise ValueError('no luck')")
    outcome = moekit("echo", "--debug")
    assert outcome.code == 3
    assert "Traceback" in outcome.err
    assert "ValueError: no luck" in outcome.err


def test_damaged_settings_do_not_hide_the_help(moekit, add, monkeypatch, tmp_path):
    add("some-plugin")
    monkeypatch.setenv("MOEKIT_CONFIG_DIR", str(tmp_path))
    (tmp_path / "plugins.json").write_text('{"disabled": 3}')
    assert "A command of some_plugin." in moekit("--help").out
    assert moekit("echo").code == 4


@pytest.mark.parametrize(
    "provides",
    ["provides = 3", "[provides]\ncommands = 3", '[provides]\ncommands = {"A B" = "x", c = 3}'],
)
def test_what_declares_no_command_properly_declares_none(moekit, add, provides):
    add("odd", manifest=f"{provides}\n")
    assert not [one for one in declared_commands(manifests()) if one.distribution == "odd"]
    assert moekit("--help").code == 0


@pytest.mark.parametrize(
    "text", [None, "", "damaged", "[moekit.plugins]\ndamaged", "[other]\na = b:c"]
)
def test_what_help_finds_at_a_glance_is_what_is_installed(install, text):
    install("Some_Plugin", metrics=("one",))
    install("other", metrics=("two",), entry_points=text)
    found = set(manifests())
    assert set(glance()) == found
    assert {"moekit", "moekit-medical", "Some_Plugin"} <= {name for name, _ in found}
    assert ("other" in {name for name, _ in found}) == (text is None)


def test_control_characters_of_a_manifest_do_not_reach_the_terminal(moekit, add):
    add("odd", manifest=MANIFEST.replace("A command", "\\u001b[2JA command"))
    text = moekit("--help").out
    assert "A command of odd." in text
    assert "\x1b" not in text


def test_info_tells_the_commands(moekit, add):
    add("some-plugin")
    manifest = moekit("plugins", "info", "some-plugin", "--json").json["plugins"][0]["manifest"]
    assert manifest["provides"]["commands"] == {"echo": "A command of some_plugin."}
    assert "echo: A command of some_plugin." in " ".join(
        moekit("plugins", "info", "some-plugin").out.split()
    )


def test_the_public_names_for_commands_import_neither_click_nor_torch_before_they_are_used():
    code = (
        "import sys, moekit; assert not {'click', 'rich', 'torch'} & set(sys.modules); "
        "moekit.command_options, moekit.say; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
