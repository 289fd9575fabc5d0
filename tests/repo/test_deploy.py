"""The files of deploy/: commands that exist, and proxies that pass on what the service needs."""

import configparser
import shlex

import pytest
import yaml

from moekit.cli.serve import serve


@pytest.fixture
def folder(root):
    return root / "deploy"


def check_command(words):
    """Whether `moekit serve` takes the words, by its own parser."""
    assert words[0] == "serve"
    context = serve.make_context("serve", list(words[1:]))
    assert context.params["runs"]
    assert context.params["corrections"]
    assert context.params["token_file"], "no replica is open to everybody"
    return context.params


def test_the_compose_file_starts_what_the_command_takes(folder):
    found = yaml.safe_load((folder / "compose.yaml").read_text())
    moekit, proxy = found["services"]["moekit"], found["services"]["proxy"]
    given = check_command(moekit["command"])
    assert given["host"] == "0.0.0.0"
    assert "ports" not in moekit, "only the proxy is reached from outside"
    assert "443:443" in proxy["ports"]
    wait = int(moekit["stop_grace_period"].rstrip("s"))
    assert wait > given["deadline_s"] + 5
    caddy = (folder / "Caddyfile").read_text()
    assert f"moekit {given['port']}" in caddy
    assert "./Caddyfile:/etc/caddy/Caddyfile:ro" in proxy["volumes"]


def test_the_unit_starts_what_the_command_takes_and_drains(folder):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(folder / "systemd" / "moekit@.service")
    line = unit["Service"]["ExecStart"].replace("$RUNS", "cracks=runs/cracks").replace("%i", "8041")
    given = check_command(shlex.split(line)[1:])
    assert given["port"] == 8041
    assert given["host"] == "127.0.0.1"
    assert int(unit["Service"]["TimeoutStopSec"]) > given["deadline_s"] + 5


@pytest.mark.parametrize("name", ["Caddyfile", "systemd/Caddyfile"])
def test_proxies_hand_events_on_at_once_and_bound_bodies(folder, name):
    text = (folder / name).read_text()
    assert "flush_interval -1" in text
    assert "max_size 32MiB" in text
    assert text.count("{") == text.count("}")
