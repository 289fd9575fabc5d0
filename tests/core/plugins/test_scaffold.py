"""What `moekit plugins new` writes installs, keeps the contract and builds a wheel, offline."""

from __future__ import annotations

import ast
import collections
import os
import re
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
    "token-gate": 19,
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


def test_new_plugins_build_install_and_keep_the_contract(tmp_path, monkeypatch):
    """All kinds at once, side by side in one environment: each is built, installed and tested."""
    names = [f"made-up-{kind}" for kind in EXPECTED]
    for name, kind in zip(names, EXPECTED, strict=True):
        new_plugin(name, kind, tmp_path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    wheels = tmp_path / "wheels"
    monkeypatch.chdir(tmp_path)
    run([*pip, "wheel", *offline, "--wheel-dir", str(wheels), *(f"./{name}" for name in names)])
    built = {wheel.name.partition("-")[0]: wheel for wheel in wheels.glob("*.whl")}
    assert set(built) == {name.replace("-", "_") for name in names}
    for package, wheel in built.items():
        assert f"{package}/plugin.toml" in zipfile.ZipFile(wheel).namelist()
    site = tmp_path / "site"
    target = ["--no-index", "--no-deps", "--quiet", "--target", str(site)]
    run([*pip, "install", *target, *map(str, built.values())])
    options = ["-q", "-rA", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir=."]
    done = run(
        [sys.executable, "-m", "pytest", *options, *(f"{name}/tests" for name in names)],
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    passed = collections.Counter(
        re.findall(r"^PASSED made-up-([a-z-]+)/", done.stdout, re.MULTILINE)
    )
    assert passed == EXPECTED


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
