"""`moekit plugins`: switching, locking, verifying, checking, diagnosing, making."""

from __future__ import annotations

import json
import re

import pytest

from moekit.plugins.discovery import discover
from moekit.testing import run_checks

EXPLOSIVE = "raise RuntimeError('the plugin was imported')"


def state_of(moekit, distribution):
    listed = moekit("plugins", "list", "--json").json["plugins"]
    (state,) = [entry["state"] for entry in listed if entry["distribution"] == distribution]
    return state


def test_a_plugin_is_switched_off_and_on_again(moekit, install):
    install("some-plugin", metrics=("one",))
    assert moekit("plugins", "disable", "some-plugin").code == 0
    assert state_of(moekit, "some-plugin") == "disabled"
    assert moekit("plugins", "enable", "Some_Plugin").code == 0
    assert state_of(moekit, "some-plugin") == "active"


def test_a_disabled_plugin_is_explained_when_it_is_asked_for(moekit, install, tmp_path):
    install("some-plugin", metrics=("one",))
    moekit("plugins", "disable", "some-plugin")
    info = moekit("plugins", "info", "some-plugin").out
    assert "moekit plugins enable" in " ".join(info.split())


def test_moekits_own_plugin_cannot_be_switched_off(moekit):
    assert moekit("plugins", "disable", "moekit").code == 2
    assert state_of(moekit, "moekit") == "active"


def test_the_option_leaves_a_plugin_out_of_one_command(moekit, install, monkeypatch):
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "")
    install("some-plugin", metrics=("one",))
    outcome = moekit("--disable-plugin", "some-plugin", "metrics", "--json")
    assert "some-plugin/one" not in outcome.out
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "")
    assert "some-plugin/one" in moekit("metrics", "--json").out


def test_a_plugin_may_be_left_out_by_its_short_name_but_not_by_a_wrong_one(moekit, monkeypatch):
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "")
    names = moekit("--disable-plugin", "industrial", "kits", "--json").out
    assert "moekit-industrial/industrial" not in names
    assert "moekit-medical/medical" in names
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", "")
    outcome = moekit("--disable-plugin", "nonesuch", "kits")
    assert outcome.code == 2
    assert "[usage/unknown-name]" in outcome.err


def test_damaged_settings_are_named(moekit, monkeypatch, tmp_path):
    monkeypatch.setenv("MOEKIT_CONFIG_DIR", str(tmp_path))
    (tmp_path / "plugins.json").write_text('{"disabled": 3}')
    outcome = moekit("plugins", "list")
    assert outcome.code == 4
    assert "plugins.json" in outcome.err


@pytest.mark.parametrize("command", [["plugins", "list"], ["metrics"], ["kits", "--json"]])
def test_strict_mode_fails_on_a_plugin_that_is_not_usable(moekit, install, monkeypatch, command):
    monkeypatch.setenv("MOEKIT_STRICT", "")
    assert moekit("--strict", *command).code == 0
    install("faulty", manifest="not TOML")
    outcome = moekit("--strict", *command)
    assert outcome.code == 3
    assert "faulty" in outcome.err
    monkeypatch.setenv("MOEKIT_STRICT", "0")
    assert moekit(*command).code == 0


def test_a_lock_holds_versions_and_hashes_and_verifies(moekit, install, tmp_path):
    folder = install("some-plugin", metrics=("one",))
    lock = tmp_path / "lock.json"
    assert moekit("plugins", "lock", "--out", lock).code == 0
    content = json.loads(lock.read_text())
    (entry,) = [e for e in content["plugins"] if e["distribution"] == "some-plugin"]
    assert entry["version"] == "1.0"
    assert len(entry["manifest_sha256"]) == 64
    assert "://" not in lock.read_text()
    assert moekit("plugins", "verify", lock).code == 0
    (folder / "plugin.toml").write_text((folder / "plugin.toml").read_text() + "\n# changed\n")
    outcome = moekit("plugins", "verify", lock, "--json")
    assert outcome.code == 1
    assert outcome.json["differences"] == ["some-plugin 1.0 has another manifest"]


def test_verify_sees_other_weights_versions_and_what_is_gone(moekit, install, tmp_path):
    weights = [{"file": "w.safetensors", "sha256": "0" * 64, "licence": "-", "source": "-"}]
    folder = install("heavy", metrics=("one",), manifest={"weights": weights})
    install("old", metrics=("two",))
    gone = install("gone", metrics=("three",))
    (folder / "w.safetensors").write_bytes(b"first")
    lock = tmp_path / "lock.json"
    moekit("plugins", "lock", "--out", lock)
    (folder / "w.safetensors").write_bytes(b"second")
    content = json.loads(lock.read_text())
    for entry in content["plugins"]:
        if entry["distribution"] == "old":
            entry["version"] = "0.9"
    lock.write_text(json.dumps(content))
    (gone.parent / "gone-1.0.dist-info" / "entry_points.txt").unlink()
    differences = moekit("plugins", "verify", lock, "--json").json["differences"]
    assert set(differences) == {
        "heavy has other weights in w.safetensors",
        "old was 0.9 and is 1.0",
        "gone 1.0 is not installed",
    }


@pytest.mark.parametrize("content", ["[]", "{}", '{"plugins": [{"name": 3}]}', "no JSON", None])
def test_what_is_no_lock_is_refused(moekit, tmp_path, content):
    path = tmp_path / "lock.json"
    if content is not None:
        path.write_text(content)
    outcome = moekit("plugins", "verify", path)
    assert outcome.code == 4
    assert "lock.json" in outcome.err


def test_check_prints_how_many_checks_ran_and_the_code_says_whether_it_conforms(
    moekit, install, monkeypatch
):
    install("careless", metrics=("one",))
    outcome = moekit("plugins", "check", "careless")
    assert outcome.code == 3
    assert "22 of 22 checks ran" in outcome.err
    assert "failed           metric/one/gives-the-known-answers: it has no example" in outcome.out
    assert moekit("plugins", "check", "careless", "--expect-failure", "x").code == 2
    # What follows needs no process of its own, of which the libraries take most of the time.
    monkeypatch.setattr("moekit.testing.run_checks_apart", run_checks)
    excuse = "metric/one/gives-the-known-answers=nobody knows them"
    excused = moekit("plugins", "check", "careless", "--expect-failure", excuse, "--json")
    assert excused.code == 0
    counted = excused.json
    assert (counted["ran"], counted["expected"], counted["conforms"]) == (22, 22, True)


def test_the_doctor_names_each_finding_of_plugins_examined_next_to_each_other(
    moekit, install, tmp_path, monkeypatch
):
    # The plugins of this repository are examined one by one by their tests of conformance.
    others = {plugin.distribution for plugin in discover()} - {"moekit", "moekit-industrial"}
    monkeypatch.setenv("MOEKIT_DISABLE_PLUGINS", ",".join(others))
    meet = (
        "import pathlib, time\n"
        "folder, mine, other = pathlib.Path({folder!r}), {mine!r}, {other!r}\n"
        "(folder / mine).touch()\n"
        "for _ in range(600):\n"
        "    if (folder / other).exists(): break\n"
        "    time.sleep(0.1)\n"
        "else: raise OSError('the other plugin was not imported meanwhile')\n"
    )
    for mine, other in (("one", "two"), ("two", "one")):
        hooks = install(mine, metrics=(mine,)) / "hooks.py"
        known = meet.format(folder=str(tmp_path), mine=mine, other=other)
        hooks.write_text(known + hooks.read_text())
    install("dying", metrics=("three",), hooks="import os\nos._exit(5)")
    install("raising", metrics=("four",), hooks="raise OSError('gone')")
    install("invalid", manifest="not TOML")
    outcome = moekit("plugins", "doctor", "--json")
    assert outcome.code == 1
    findings = {(row["plugin"], row["check"]): row["finding"] for row in outcome.json["findings"]}
    assert findings["one", "activation"] == findings["two", "activation"] == ""
    assert "code 5" in findings["dying", "activation"]
    assert "OSError: gone" in findings["raising", "activation"]
    assert "not TOML" in findings["invalid", "state"]
    assert findings["moekit", "weights"] == ""
    assert findings["moekit-industrial", "activation"] == ""
    assert re.search(r"plugins: (\d+) of \1\b", outcome.err)


def test_listing_ten_plugins_is_quick_and_imports_none(install, processor_time):
    for number in range(10):
        folder = install(f"plugin-{number}", metrics=("one",), hooks=EXPLOSIVE)
        (folder / "__init__.py").write_text(EXPLOSIVE)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop()); from moekit.cli.main import main\n"
        "try: main(['plugins', 'list', '--json'])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    times, floors = [], []
    for _ in range(5):
        floors.append(processor_time("import click; from pydantic import create_model, Field")[0])
        spent, done = processor_time(code, folder.parent)
        times.append(spent)
    listed = json.loads(done.stdout)["plugins"]
    assert sum(entry["distribution"].startswith("plugin-") for entry in listed) == 10
    assert done.stderr.strip() == "False"
    # On a machine where the libraries alone take as long, they are the measure.
    assert min(times) < max(0.4, 2.5 * min(floors))


@pytest.mark.parametrize("name", ["Upper", "two words", "a/b", "../x", "1st", "class", "moekit"])
def test_an_improper_or_taken_name_is_refused(moekit, tmp_path, name):
    outcome = moekit("plugins", "new", name, "--out", tmp_path)
    assert outcome.code == 2
    assert not list(tmp_path.iterdir())


def test_a_new_plugin_overwrites_nothing(moekit, tmp_path):
    assert moekit("plugins", "new", "my-own", "--out", tmp_path).code == 0
    before = (tmp_path / "my-own" / "README.md").read_bytes()
    assert moekit("plugins", "new", "my-own", "--kind", "gate", "--out", tmp_path).code == 2
    assert (tmp_path / "my-own" / "README.md").read_bytes() == before
