"""Each hook is documented by an example that runs, and used by a plugin of this repository."""

import doctest
import importlib

import pytest

from moekit import hookimpl
from moekit.contract import hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("moekit_")]
PLUGINS = [
    "moekit.builtin.hooks",
    "moekit_entropy_gate.hooks",
    "moekit_finegrained.hooks",
    "moekit_industrial.hooks",
    "moekit_medical.hooks",
    "moekit_scenes.hooks",
    "moekit_tensorboard.hooks",
    "moekit_texture.hooks",
]


@pytest.mark.parametrize("name", HOOKS)
def test_the_example_of_a_hook_runs(name):
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    (test,) = finder.find(getattr(hookspecs, name), name, globs={})
    assert len(test.examples) >= 3
    assert runner.run(test).failed == 0


@pytest.mark.parametrize("name", HOOKS)
def test_a_plugin_of_this_repository_uses_the_hook(name):
    modules = [importlib.import_module(plugin) for plugin in PLUGINS]
    assert any(hasattr(module, name) for module in modules)


def test_the_marker_is_that_of_the_project():
    assert hookimpl.project_name == hookspecs.PROJECT
