"""A cache of its own for each test, and the folder in which the helper modules lie."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The cache folder of the test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(folder))
    return folder
