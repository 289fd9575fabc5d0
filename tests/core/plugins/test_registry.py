"""The registry: names short and qualified, hints, loaders, and hooks of this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import moekit
from moekit import Dataset, DatasetSpec, GateSpec, PluginError, Registry
from moekit.plugins.discovery import State
from moekit.testing import refused

Install = Callable[..., Path]


def test_a_short_name_works_while_one_plugin_has_it(install: Install) -> None:
    install("alpha", metrics=("shared",))
    assert Registry().metric("shared").name == "shared"


def test_a_qualified_name_always_works(install: Install) -> None:
    install("alpha", metrics=("shared",))
    install("beta", metrics=("shared",))
    registry = Registry()
    assert registry.metric("alpha/shared") is not registry.metric("beta/shared")
    assert registry.owner("metrics", "beta/shared").distribution == "beta"


def test_a_short_name_of_two_plugins_is_refused_with_the_full_names(install: Install) -> None:
    install("alpha", metrics=("shared",))
    install("beta", metrics=("shared",))
    with refused("usage/ambiguous-name", match="'shared'") as caught:
        Registry().metric("shared")
    assert caught.value.fix == "use one of the full names: alpha/shared, beta/shared"


def test_switching_one_of_two_plugins_off_frees_the_short_name(install: Install) -> None:
    install("alpha", metrics=("shared",))
    install("beta", metrics=("shared",))
    registry = Registry(disabled=["alpha"])
    assert registry.owner("metrics", "shared").distribution == "beta"
    assert "alpha/shared" not in registry.names("metrics")


def test_a_name_of_one_kind_is_not_a_name_of_another(install: Install) -> None:
    install("alpha", metrics=("shared",))
    with refused("usage/unknown-name", match="'shared'"):
        Registry().gate("shared")


def test_a_close_name_is_suggested(install: Install) -> None:
    install("alpha", metrics=("sharpness",))
    with refused("usage/unknown-name", match="'sharpnes'") as caught:
        Registry().metric("sharpnes")
    assert caught.value.fix.startswith("did you mean sharpness? installed: ")


def test_a_name_like_no_other_gets_the_list() -> None:
    with refused("usage/unknown-name") as caught:
        Registry([]).kit("anything")
    assert caught.value.fix == "installed: none; install a kit"


@pytest.mark.parametrize(
    ("manifest", "state", "fix"),
    [
        ({"api": "3.0"}, "incompatible", "it is made for plugin API 3.0"),
        (
            {"requires": [{"module": "no_such_module", "install": "pip get it"}]},
            "missing-deps",
            "it needs no_such_module: pip get it",
        ),
    ],
)
def test_what_an_unusable_plugin_promises_is_the_plugins_fault(
    manifest: dict[str, object], state: str, fix: str, install: Install
) -> None:
    install("alpha", metrics=("one",), manifest=manifest)
    with refused("plugin/not-usable", match=f"{state}") as caught:
        Registry().metric("one")
    assert caught.value.whose == "alpha 1.0"
    assert fix in caught.value.fix


def test_an_unusable_plugin_does_not_hide_a_usable_one(install: Install) -> None:
    install("alpha", metrics=("one",), manifest={"api": "3.0"})
    install("beta", metrics=("one",))
    registry = Registry()
    registry.metric("one")
    assert [plugin.distribution for plugin in registry.used()] == ["beta"]


def test_the_registry_knows_which_plugins_were_used(install: Install) -> None:
    install("alpha", metrics=("one",))
    install("beta", metrics=("two",))
    registry = Registry()
    assert registry.used() == []
    registry.metric("two")
    assert [plugin.distribution for plugin in registry.used()] == ["beta"]


class Gates:
    """Hooks of this process."""

    @moekit.hookimpl
    def moekit_gates(self) -> list[GateSpec]:
        return [GateSpec(name="mine", build=moekit.UnitTopK, summary="-", source="-")]


def test_hooks_of_this_process_are_registered_without_a_package() -> None:
    registry = Registry([])
    registry.register(Gates(), distribution="notebook")
    assert registry.gate("mine") is registry.gate("notebook/mine")
    assert registry.gate("mine").build is moekit.UnitTopK
    (plugin,) = registry.plugins
    assert plugin.state is State.ACTIVE
    assert plugin.manifest is not None
    assert plugin.manifest.provides.gates == ("mine",)


def test_hooks_of_this_process_are_subject_to_collisions_too(install: Install) -> None:
    registry = Registry([])
    registry.register(Gates(), distribution="first")
    registry.register(Gates(), distribution="second")
    with refused("usage/ambiguous-name", match="'mine'"):
        registry.gate("mine")


def test_a_distribution_is_registered_once() -> None:
    registry = Registry([])
    registry.register(Gates(), distribution="notebook")
    with refused("usage/name-taken", match="notebook"):
        registry.register(Gates(), distribution="notebook")


class Improper:
    """Hooks whose record has a name that no manifest could have."""

    @moekit.hookimpl
    def moekit_gates(self) -> list[GateSpec]:
        return [GateSpec(name="My Gate", build=moekit.UnitTopK, summary="-", source="-")]


class Misspelt:
    """A hook that does not exist."""

    @moekit.hookimpl
    def moekit_gatez(self) -> list[GateSpec]:
        return []


@pytest.mark.parametrize("hooks", [Improper(), Misspelt()])
def test_wrong_hooks_of_this_process_leave_the_registry_as_it_was(hooks: object) -> None:
    registry = Registry([])
    with pytest.raises(PluginError, match="the plugin cannot be used"):
        registry.register(hooks, distribution="notebook")
    assert registry.plugins == []


def loader(name: str, takes_path: str) -> DatasetSpec:
    def load(path: Path | None, seed: int) -> Dataset:
        return Dataset(name=f"{name} {path} {seed}", samples=(), classes=("good", "bad"))

    return DatasetSpec(
        name=name,
        load=load,
        summary="-",
        takes_path=takes_path,  # type: ignore[arg-type]
        licence="CC0-1.0",
    )


class Loaders:
    """One loader of each kind."""

    @moekit.hookimpl
    def moekit_datasets(self) -> list[DatasetSpec]:
        return [loader(kind, kind) for kind in ("required", "optional", "refused")]


@pytest.fixture
def loaders() -> Registry:
    registry = Registry([])
    registry.register(Loaders(), distribution="notebook")
    return registry


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("required=some/folder", "required some/folder 7"),
        ("optional=some/folder", "optional some/folder 7"),
        ("optional", "optional None 7"),
        ("refused", "refused None 7"),
        ("notebook/required=a=b", "required a=b 7"),
    ],
)
def test_a_loader_gets_its_path_and_the_seed(data: str, name: str, loaders: Registry) -> None:
    assert loaders.load_dataset(data, seed=7).name == name


def test_a_path_may_begin_with_the_home_folder(
    loaders: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert loaders.load_dataset("required=~/data", seed=0).name == f"required {tmp_path}/data 0"
    strange = loaders.load_dataset("required=~nobody-of-that-name/data", seed=0)
    assert strange.name == "required ~nobody-of-that-name/data 0"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("required", "usage/loader-path"),
        ("required=", "usage/loader-path"),
        ("refused=some/folder", "usage/loader-path"),
        ("absent=some/folder", "usage/unknown-name"),
    ],
)
def test_a_wrong_data_option_is_refused(data: str, code: str, loaders: Registry) -> None:
    with refused(code):
        loaders.load_dataset(data, seed=0)
