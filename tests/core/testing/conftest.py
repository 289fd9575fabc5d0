"""What the tests of the conformance kit share."""

from __future__ import annotations

import pytest
import torch

from moekit import Registry
from moekit.plugins.contents import contents
from moekit.plugins.discovery import Plugin
from moekit.testing.check import CHECKS, Check
from moekit.testing.examples import Examples
from moekit.testing.reference import small_backbone

ELSEWHERE = 0


class Subject:
    """A subject whose one record is given, instead of an installed plugin."""

    def __init__(self, record):
        self._record = record
        self.registry = Registry()
        self.examples = Examples()
        self.plugin = Plugin(distribution="specimens", version="1", entry="specimens")

    def record(self, kind, name):
        return self._record

    def load_elsewhere(self, name, path):
        # In another process a set has another order; loaders of the tests ask for it here.
        return contents(self._record.load(path, ELSEWHERE))


@pytest.fixture
def run_check():
    """Runs one check on a record."""

    def run(kind, name, record):
        small_backbone.cache_clear()
        torch.manual_seed(0)
        Check(kind=kind, record="specimen", name=name, summary="-", subject=Subject(record)).run()

    yield run
    small_backbone.cache_clear()


def names(kind):
    return list(CHECKS[kind])
