"""What `moekit plugins new` writes installs, keeps the contract and builds a wheel, offline."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
import zipfile

import pytest

from moekit.plugins.manifest import API_VERSION
from moekit.plugins.scaffold import PLUGIN_KINDS, new_plugin

EXPECTED = {
    "expert": 29,
    "gate": 26,
    "metric": 22,
    "map-metric": 22,
    "dataset": 24,
    "kit": 39,
    "command": 19,
    "task": 43,
}
LINES_OF_A_TASK = 150


def test_every_kind_of_record_that_has_a_template_is_tested():
    assert set(PLUGIN_KINDS) == set(EXPECTED)


def test_a_new_task_is_short(tmp_path):
    new_plugin("made-up", "task", tmp_path)
    lines = (tmp_path / "made-up" / "made_up" / "task.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) < LINES_OF_A_TASK


@pytest.mark.parametrize("kind", EXPECTED)
def test_what_is_written_is_formatted_and_for_this_version_of_the_contract(kind, tmp_path):
    new_plugin("made-up", kind, tmp_path)
    manifest = tomllib.loads((tmp_path / "made-up" / "made_up" / "plugin.toml").read_text())
    assert manifest["api"] == API_VERSION
    for path in tmp_path.rglob("*.py"):
        text = path.read_text()
        ast.parse(text)
        assert max(map(len, text.splitlines()), default=0) <= 100, path


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_new_plugin_builds_installs_and_keeps_the_contract(kind, tmp_path):
    name = f"made-up-{kind}"
    new_plugin(name, kind, tmp_path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    run([*pip, "wheel", *offline, "--wheel-dir", str(tmp_path), str(tmp_path / name)])
    (wheel,) = tmp_path.glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert f"{name.replace('-', '_')}/plugin.toml" in inside
    site = tmp_path / "site"
    run([*pip, "install", "--no-index", "--no-deps", "--quiet", "--target", str(site), str(wheel)])
    done = run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path / name,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert f"{EXPECTED[kind]} passed" in done.stdout


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
