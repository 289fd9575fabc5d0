"""A plugin that was written for API 1.0 goes on keeping, and getting, what it was promised."""

import shutil
import sys
from pathlib import Path

import pytest

from moekit.plugins.discovery import discover
from moekit.testing import run_checks

FROZEN = Path(__file__).parent / "frozen_api_1_0"


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    site = tmp_path / "site"
    shutil.copytree(FROZEN, site)
    monkeypatch.syspath_prepend(site)
    (plugin,) = [plugin for plugin in discover() if plugin.distribution == "frozen-plugin"]
    yield plugin
    for name in [name for name in sys.modules if name.startswith("frozen_plugin")]:
        del sys.modules[name]


def test_the_frozen_plugin_conforms(frozen):
    report = run_checks(frozen)
    assert not report.failures
    assert report.ran == report.expected == 97
