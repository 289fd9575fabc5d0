"""Activation: whatever a plugin does wrong becomes an error that names it, and only it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moekit import MetricSpec, PluginError, Registry
from moekit.plugins.discovery import State
from moekit.testing import refused

Install = Callable[..., Path]

IMPORTS = "import moekit, sys\n"
METRIC = """
def metric(name):
    return moekit.MetricSpec(
        name=name, compute=lambda scores, labels, threshold: 0.5, higher_is_better=True,
        bounds=(0.0, 1.0), summary="-", source="-",
    )
"""


def hook(body: str, *, name: str = "moekit_metrics", parameters: str = "") -> str:
    """The source of a hooks module with one hook."""
    return f"{IMPORTS}{METRIC}\n@moekit.hookimpl\ndef {name}({parameters}):\n    {body}\n"


BROKEN = {
    "an exception at import": ("raise ValueError('no luck')", "failed: ValueError: no luck"),
    "an exit at import": ("import sys\nsys.exit(3)", "failed: SystemExit: 3"),
    "a silent exit at import": ("raise SystemExit", "failed: SystemExit"),
    "endless recursion at import": ("def f(): f()\nf()", "failed: RecursionError"),
    "a missing module at import": (
        "import no_such_module",
        "failed: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "an error of syntax": ("def (", "failed: SyntaxError"),
    "a misspelt hook": (
        hook("return []", name="moekit_metrix"),
        "its hooks are refused: unknown hook 'moekit_metrix'",
    ),
    "a hook with a parameter": (
        hook("return []", parameters="threshold"),
        "its hooks are refused: Plugin 'broken'",
    ),
    "a hook that raises": (
        hook("raise OSError('gone')"),
        "moekit_metrics raised OSError: gone",
    ),
    "a hook that exits": (hook("sys.exit(0)"), "moekit_metrics raised SystemExit: 0"),
    "a hook that recurses": (
        hook("return moekit_metrics()"),
        "moekit_metrics raised RecursionError",
    ),
    "a hook that returns nothing": (
        hook("return None"),
        "moekit_metrics must return a list of MetricSpec",
    ),
    "a hook that returns one record": (
        hook("return metric('one')"),
        "moekit_metrics must return a list of MetricSpec",
    ),
    "a hook that returns a generator": (
        hook("yield metric('one')"),
        "moekit_metrics must return a list of MetricSpec",
    ),
    "a hook that returns other things": (
        hook("return [metric('one'), 'two']"),
        "moekit_metrics must return a list of MetricSpec",
    ),
    "a record without a name": (
        hook("return [metric(None)]"),
        "moekit_metrics returns the improper name None",
    ),
    "a record with a list for a name": (
        hook("return [metric(['one'])]"),
        "moekit_metrics returns the improper name ['one']",
    ),
    "a record with a slash in its name": (
        hook("return [metric('one/two')]"),
        "moekit_metrics returns the improper name 'one/two'",
    ),
    "the same record twice": (
        hook("return [metric('one'), metric('one')]"),
        "moekit_metrics returns 'one' twice",
    ),
    "less than was promised": (
        hook("return []"),
        "the metrics of its manifest are ['one'], those of its hook []",
    ),
    "more than was promised": (
        hook("return [metric('one'), metric('two')]"),
        "those of its hook ['one', 'two']",
    ),
    "no hooks at all": (IMPORTS, "the metrics of its manifest are ['one'], those of its hook []"),
    "a hook nobody promised": (
        hook("return [metric('one')]")
        + "@moekit.hookimpl\ndef moekit_gates():\n    return [moekit.GateSpec(name='g', "
        "build=moekit.UnitTopK, summary='-', source='-')]\n",
        "the gates of its manifest are [], those of its hook ['g']",
    ),
}


@pytest.mark.parametrize(("hooks", "fault"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_breaks_only_itself(hooks: str, fault: str, install: Install) -> None:
    install("broken", metrics=("one",), hooks=hooks)
    install("sound", metrics=("two",))
    registry = Registry()
    with pytest.raises(PluginError) as caught:
        registry.metric("one")
    assert caught.value.what.startswith("the plugin cannot be used: ")
    assert fault in caught.value.what
    assert caught.value.whose == "broken 1.0"
    assert "MOEKIT_DISABLE_PLUGINS=broken" in caught.value.fix
    assert caught.value.exit_code == 3
    states = {plugin.distribution: plugin.state for plugin in registry.plugins}
    assert states["broken"] is State.BROKEN
    assert states["sound"] is State.ACTIVE
    assert registry.metric("two").name == "two"


def test_a_broken_plugin_says_so_again_when_it_is_asked_again(install: Install) -> None:
    install("broken", metrics=("one",), hooks="raise ValueError('no luck')")
    registry = Registry()
    for name in ("one", "broken/one"):
        with refused("plugin/import-failed", match="ValueError: no luck"):
            registry.metric(name)
        with refused("plugin/not-usable", match=f"'{name}'"):
            registry.metric(name)
        registry = Registry()


def test_a_stop_from_the_keyboard_is_not_the_plugins_fault(install: Install) -> None:
    install("stopped", metrics=("one",), hooks="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry().metric("one")
    assert {plugin.state for plugin in Registry().plugins} == {State.ACTIVE}


def test_a_plugin_is_imported_when_something_of_it_is_asked_for(install: Install) -> None:
    install("lazy", metrics=("one",))
    registry = Registry()
    registry.names("metrics")
    registry.owner("metrics", "one")
    assert "lazy.hooks" not in sys.modules
    assert isinstance(registry.metric("one"), MetricSpec)
    assert "lazy.hooks" in sys.modules


def test_a_hook_is_called_once_however_often_its_records_are_asked_for(install: Install) -> None:
    counting = hook("calls.append(1); return [metric('one'), metric('two')]") + "calls = []\n"
    install("counting", metrics=("one", "two"), hooks=counting)
    registry = Registry()
    assert registry.metric("one") is registry.metric("counting/one")
    registry.metric("two")
    assert sys.modules["counting.hooks"].calls == [1]
