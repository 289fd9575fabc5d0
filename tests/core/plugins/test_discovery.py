"""Discovery: every state, without importing a plugin, whatever the others did."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moekit.plugins.discovery import Plugin, State, discover

Install = Callable[..., Path]
EXPLOSIVE = "raise RuntimeError('the plugin was imported')"


def found(distribution: str) -> Plugin:
    (plugin,) = [plugin for plugin in discover() if plugin.distribution == distribution]
    return plugin


@pytest.fixture(autouse=True)
def _a_sound_neighbour(install: Install) -> None:
    install("sound-neighbour", metrics=("sound",))


def test_a_sound_plugin_is_active(install: Install) -> None:
    folder = install("some-plugin", metrics=("one",))
    plugin = found("some-plugin")
    assert (plugin.state, plugin.reason) == (State.ACTIVE, "")
    assert (plugin.version, plugin.entry) == ("1.0", "some_plugin")
    assert plugin.manifest is not None
    assert plugin.manifest.provides.metrics == ("one",)
    content = (folder / "plugin.toml").read_bytes()
    assert plugin.manifest_sha256 == hashlib.sha256(content).hexdigest()


def test_moekits_own_plugin_is_active() -> None:
    assert found("moekit").state is State.ACTIVE


def test_nothing_is_imported(install: Install) -> None:
    folder = install("explosive", hooks=EXPLOSIVE)
    (folder / "__init__.py").write_text(EXPLOSIVE)
    assert found("explosive").state is State.ACTIVE
    assert not {"explosive", "explosive.hooks"} & sys.modules.keys()


def test_plugins_are_sorted_by_distribution(install: Install) -> None:
    install("zebra")
    install("aardvark")
    names = [plugin.distribution for plugin in discover()]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "variable",
    ["some-plugin", "other,some-plugin", " some-plugin , other", "Some_Plugin", "some.plugin,"],
)
def test_the_environment_switches_a_plugin_off(
    variable: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("some-plugin")
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", variable)
    plugin = found("some-plugin")
    assert plugin.state is State.DISABLED
    assert "MOEKIT_DISABLE_PLUGINS" in plugin.reason
    assert plugin.manifest is not None


def test_a_call_switches_a_plugin_off(install: Install) -> None:
    install("some-plugin")
    states = {plugin.distribution: plugin.state for plugin in discover(["some-plugin"])}
    assert states["some-plugin"] is State.DISABLED
    assert states["sound-neighbour"] is State.ACTIVE


def test_a_plugin_that_is_switched_off_is_not_complained_about(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("some-plugin", manifest="not TOML")
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "some-plugin")
    assert found("some-plugin").state is State.DISABLED


def test_an_empty_variable_switches_nothing_off(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "")
    assert found("sound-neighbour").state is State.ACTIVE


FAULTS = {
    "a manifest that is not TOML": ({"manifest": "name = "}, State.INVALID, "not TOML"),
    "a manifest of endless depth": (
        {"manifest": "a = " + "[" * 9000},
        State.INVALID,
        "plugin.toml is refused",
    ),
    "an unknown key": ({"manifest": {"colour": "red"}}, State.INVALID, "colour: Extra inputs"),
    "an empty manifest": ({"manifest": ""}, State.INVALID, "name: Field required"),
    "an older api": ({"manifest": {"api": "0.9"}}, State.INCOMPATIBLE, "made for plugin API 0.9"),
    "a newer api": ({"manifest": {"api": "2.1"}}, State.INCOMPATIBLE, "moekit has 2.0"),
    "a missing module": (
        {"manifest": {"requires": [{"module": "no_such_module.part", "install": "pip get it"}]}},
        State.MISSING_DEPS,
        "it needs no_such_module.part: pip get it",
    ),
    "no manifest where the entry point says": (
        {"entry_points": "[moekit.plugins]\nfaulty = faulty:missing.toml\n"},
        State.INVALID,
        "manifest faulty:missing.toml is not in the package",
    ),
    "no such package": (
        {"entry_points": "[moekit.plugins]\nfaulty = no_such_package:plugin.toml\n"},
        State.INVALID,
        "is not in the package; reinstall it",
    ),
    "an entry point without a file": (
        {"entry_points": "[moekit.plugins]\nfaulty = faulty\n"},
        State.INVALID,
        "is not in the package",
    ),
    "an entry point that is no name": (
        {"entry_points": "[moekit.plugins]\nfaulty = :::\n"},
        State.INVALID,
        "is not in the package",
    ),
    "a damaged list of entry points": (
        {"entry_points": "[moekit.plugins]\nfaulty\n"},
        State.INVALID,
        "its entry_points.txt is damaged; reinstall it",
    ),
}


@pytest.mark.parametrize(("options", "state", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_plugin_is_named_with_its_fault_and_disturbs_nobody(
    options: dict[str, object], state: State, reason: str, install: Install
) -> None:
    install("faulty", **options)
    plugin = found("faulty")
    assert plugin.state is state
    assert reason in plugin.reason
    assert found("sound-neighbour").state is State.ACTIVE
    assert found("moekit").state is State.ACTIVE


def test_a_manifest_that_is_not_text_is_invalid(install: Install) -> None:
    (install("faulty") / "plugin.toml").write_bytes(b"\xff\xfe\x00")
    assert found("faulty").state is State.INVALID


def test_a_manifest_may_lie_in_an_inner_package(install: Install) -> None:
    folder = install("nested", entry_points="[moekit.plugins]\nn = nested.inner:plugin.toml\n")
    (folder / "inner").mkdir()
    (folder / "plugin.toml").rename(folder / "inner" / "plugin.toml")
    assert found("nested").state is State.ACTIVE


def test_a_needed_module_that_is_there_is_not_imported(install: Install) -> None:
    folder = install("needed")
    (folder / "__init__.py").write_text(EXPLOSIVE)
    install("needy", manifest={"requires": [{"module": "needed", "install": "pip get it"}]})
    assert found("needy").state is State.ACTIVE


def test_two_plugins_of_one_name_in_one_distribution_conflict(install: Install) -> None:
    entries = "[moekit.plugins]\na = twins:plugin.toml\nb = twins:plugin.toml\n"
    install("twins", entry_points=entries)
    twins = [plugin for plugin in discover() if plugin.distribution == "twins"]
    assert [plugin.state for plugin in twins] == [State.CONFLICT, State.CONFLICT]
    assert twins[0].reason == "twins registers the plugin twins 2 times; reinstall it"
    assert found("sound-neighbour").state is State.ACTIVE


def test_two_plugins_of_one_distribution_must_not_provide_the_same_name(install: Install) -> None:
    entries = "[moekit.plugins]\na = pair:plugin.toml\nb = pair:other.toml\n"
    folder = install("pair", metrics=("same",), entry_points=entries)
    text = (folder / "plugin.toml").read_text()
    (folder / "other.toml").write_text(text.replace('name = "pair"', 'name = "other"'))
    pair = [plugin for plugin in discover() if plugin.distribution == "pair"]
    assert [plugin.state for plugin in pair] == [State.CONFLICT, State.CONFLICT]
    assert "pair registers the metric same 2 times" in pair[0].reason


def test_two_plugins_of_one_distribution_may_provide_different_names(install: Install) -> None:
    entries = "[moekit.plugins]\na = pair:plugin.toml\nb = pair:other.toml\n"
    folder = install("pair", metrics=("same",), entry_points=entries)
    text = (folder / "plugin.toml").read_text()
    other = text.replace('name = "pair"', 'name = "other"').replace('"same"', '"different"')
    (folder / "other.toml").write_text(other)
    pair = [plugin for plugin in discover() if plugin.distribution == "pair"]
    assert [plugin.state for plugin in pair] == [State.ACTIVE, State.ACTIVE]


@pytest.mark.parametrize("content", [b"[console_scripts]\nno value\n", b"\xff\xfe"])
def test_damaged_entry_points_of_a_stranger_disturb_nobody(
    content: bytes, install: Install
) -> None:
    folder = install("stranger")
    info = folder.parent / "stranger-1.0.dist-info" / "entry_points.txt"
    info.write_bytes(content)
    names = {plugin.distribution for plugin in discover()}
    assert "sound-neighbour" in names
    assert "stranger" not in names


def test_a_distribution_without_metadata_disturbs_nobody(install: Install) -> None:
    folder = install("nameless")
    (folder.parent / "nameless-1.0.dist-info" / "METADATA").unlink()
    assert found("sound-neighbour").state is State.ACTIVE
    assert found("unknown").version == "unknown"


def test_a_distribution_found_twice_counts_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("some-plugin")
    copy = tmp_path / "older" / "Some_Plugin-0.1.dist-info"
    copy.mkdir(parents=True)
    (copy / "METADATA").write_text("Metadata-Version: 2.1\nName: Some_Plugin\nVersion: 0.1\n")
    (copy / "entry_points.txt").write_text("[moekit.plugins]\nold = some_plugin:plugin.toml\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(copy.parent)])
    assert found("some-plugin").version == "1.0"
    assert "Some_Plugin" not in {plugin.distribution for plugin in discover()}


def test_discovery_does_not_import_torch() -> None:
    code = "import sys, moekit.plugins.discovery as d; d.discover(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
