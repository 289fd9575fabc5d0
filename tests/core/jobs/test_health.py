"""What `moekit doctor` finds."""

import json
from types import SimpleNamespace

import pytest

from moekit.cli.main import main
from moekit.jobs import health
from moekit.plugins.discovery import State


def checks(**how):
    return {one.check: one for one in health.examine(**how)}


def test_a_machine_that_works_is_found_well():
    found = checks()
    assert {"Python", "processor", "memory", "GPU", "weights", "cache", "plugins"} <= set(found)
    assert "GFLOP/s" in found["processor"].found
    assert not found["weights"].fix


def test_weights_that_are_not_there_are_found_and_the_rest_is_examined(tmp_path):
    found = checks(weights=str(tmp_path / "none.safetensors"))
    assert "safetensors" in found["weights"].found
    assert found["weights"].fix
    assert "plugins" in found


def test_weights_that_are_damaged_are_found(tmp_path):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"")
    assert checks(weights=str(path))["weights"].fix


def test_a_broken_plugin_is_named_with_what_to_do(monkeypatch):
    broken = SimpleNamespace(distribution="lab-x", state=State.BROKEN, reason="no manifest")
    monkeypatch.setattr(health, "discover", lambda: [broken])
    found = checks()["plugin lab-x"]
    assert "no manifest" in found.found
    assert "moekit plugins disable lab-x" in found.fix


def test_the_command_fails_if_something_needs_mending(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json", "--weights", str(tmp_path / "none.safetensors")])
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)["findings"]
    assert [one["check"] for one in told if one["fix"]] == ["weights"]
