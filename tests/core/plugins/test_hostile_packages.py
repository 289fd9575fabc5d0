"""Packages that attack discovery: each is invalid on one bounded line, everything else works."""

import os
import threading
import time
from pathlib import Path

import pytest

from moekit.cli.plugin_commands import help_lines
from moekit.plugins.discovery import State, discover
from moekit.plugins.lock import lock_plugin
from moekit.plugins.settings import disabled_by_settings, switch

ENTRY = "[moekit.plugins]\n{} = {}\n"
LONG = "x" * 300_000
ATTACKS = {
    "an entry point with a monstrous name": {
        "entry_points": ENTRY.format("x" * 100_000, "hostile:plugin.toml")
    },
    "an entry point with a monstrous value": {
        "entry_points": ENTRY.format("a", "y" * 100_000 + ":plugin.toml")
    },
    "a value that no file can have": {"entry_points": ENTRY.format("a", f"hostile:{'z' * 290}")},
    "a value with a null": {"entry_points": ENTRY.format("a", "hos\0tile:plugin.toml")},
    "a list of entry points of 400 kB": {
        "entry_points": ENTRY.format("a", "hostile:plugin.toml") + f"# {LONG}{LONG[:100_000]}"
    },
    "10,000 entry points": {
        "entry_points": "[moekit.plugins]\n"
        + "".join(f"a{number} = hostile:plugin.toml\n" for number in range(10_000))
    },
    "a manifest of 400 kB": {"manifest": f'name = "{LONG}{LONG[:100_000]}"'},
    "10,000 unknown keys": {"manifest": "".join(f"a{n} = 1\n" for n in range(6_000))},
    "a key of 20,000 parts": {"manifest": ".".join(["a"] * 20_000) + " = 1"},
    "a key of 20,000 parts in a table": {
        "manifest": "a = {" + " . ".join(["a"] * 10_000) + " = 1}"
    },
    "endless lists": {"manifest": "a = " + "[" * 60_000},
    "endless tables": {"manifest": "a = " + "{a=" * 20_000},
    "terminal codes in a name": {
        "manifest": 'name = "x"\n"\\u001b[2J\\u202e" = 1\n"\\nmoekit: all is well" = 2'
    },
}


def states():
    return {plugin.distribution: plugin for plugin in discover()}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_told_on_one_line_and_disturbs_nobody(attack, install, moekit):
    install("sound-neighbour", metrics=("sound",))
    install("hostile", **attack)
    began = time.monotonic()
    found = states()
    assert found["sound-neighbour"].state is State.ACTIVE
    hostile = found["hostile"]
    assert hostile.state is State.INVALID
    assert hostile.reason
    assert len(hostile.reason) <= 500
    assert hostile.reason.isprintable()
    help_lines()
    listed = moekit("plugins", "list", "--json")
    assert listed.code == 0
    assert len(listed.out) < 100_000
    assert moekit("plugins", "list").code == moekit("--help").code == 0
    assert time.monotonic() - began < 60


def test_names_of_a_distribution_are_shown_without_terminal_codes(install, moekit):
    folder = install("hostile", manifest="not TOML")
    info = folder.parent / "hostile-1.0.dist-info" / "METADATA"
    info.write_text("Metadata-Version: 2.1\nName: \x1b[2Jevil\x9b" + LONG + "\nVersion: \x1b[1m\n")
    names = [plugin.distribution + plugin.version for plugin in discover()]
    assert all(name.isprintable() and len(name) < 300 for name in names)
    assert "\x1b" not in moekit("plugins", "list").out


@pytest.mark.parametrize("device", ["", "/dev/zero"], ids=["pipe", "device"])
@pytest.mark.parametrize("name", ["plugin.toml", "entry_points.txt", "METADATA"])
def test_a_pipe_or_device_in_the_place_of_a_file_is_not_read(name, device, install):
    folder = install("hostile")
    if name != "plugin.toml":
        folder = folder.parent / "hostile-1.0.dist-info"
    (folder / name).unlink()
    if device:
        (folder / name).symlink_to(device)
    else:
        os.mkfifo(folder / name)
    install("sound-neighbour", metrics=("sound",))
    assert states()["sound-neighbour"].state is State.ACTIVE
    help_lines()


def test_code_that_cannot_be_read_is_locked_as_such(install):
    folder = install("hostile")
    whole = lock_plugin(states()["hostile"]).code_sha256
    locked = set()
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)):
        odd = folder / "odd.py"
        make(odd)
        locked.add(lock_plugin(states()["hostile"]).code_sha256)
        odd.rmdir() if odd.is_dir() else odd.unlink()
    assert len(locked) == 1  # it has a name, and no content
    assert whole not in locked
    assert lock_plugin(states()["hostile"]).code_sha256 == whole


def test_a_package_folder_that_cannot_be_read_disturbs_nobody(install, monkeypatch):
    """As the system refuses it to those who are no superuser."""
    install("hostile")
    install("sound-neighbour", metrics=("sound",))
    real = Path.stat

    def refuse(path, **options):
        if "hostile/plugin.toml" in path.as_posix():
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    found = states()
    assert found["hostile"].state is State.INVALID
    assert found["sound-neighbour"].state is State.ACTIVE
    help_lines()


def test_a_folder_on_the_path_that_cannot_be_read_disturbs_nobody(
    install, tmp_path, monkeypatch, moekit
):
    install("sound-neighbour", metrics=("sound",))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    for entry in (str(closed), "/proc/self/mem", "x" * 5000):
        monkeypatch.syspath_prepend(entry)
    assert states()["sound-neighbour"].state is State.ACTIVE
    assert moekit("--help").code == 0


def test_of_many_switches_at_once_none_is_lost():
    names = [f"plugin-{number}" for number in range(24)]
    threads = [
        threading.Thread(target=switch, args=(name,), kwargs={"on": False}) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert disabled_by_settings() == sorted(names)
