"""Kits, plugins and examples use public names only."""

import ast
import importlib
import pkgutil
import subprocess
import sys

import pytest

PUBLIC = {
    "moekit",
    "moekit.backbone",
    "moekit.builtin.loaders",
    "moekit.data",
    "moekit.evaluation",
    "moekit.files",
    "moekit.jobs",
    "moekit.occupied",
    "moekit.outputs",
    "moekit.runs",
    "moekit.runtime",
    "moekit.sealed",
    "moekit.serve",
    "moekit.tables",
    "moekit.tasks.classify",
    "moekit.tasks.parts",
    "moekit.tasks.score",
    "moekit.tasks.segment",
    "moekit.testing",
}
"""Packages and modules whose `__all__` is public."""
EAGER = {
    f"moekit.{name}" for name in ("files", "occupied", "outputs", "sealed", "tables", "testing")
}
LAZY = sorted(PUBLIC - EAGER)


def users(root):
    folders = ("domain_kits", "plugins", "examples")
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def imports_of(path):
    """Each module of moekit that a file imports from, with the names; no name for `import X`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            if (node.module or "").split(".")[0] == "moekit":
                yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "moekit":
                    yield alias.name, []


def test_kits_plugins_and_examples_import_public_names_only(root):
    files = users(root)
    assert len(files) > 100
    wrong = []
    for path in files:
        for module, names in imports_of(path):
            known = importlib.import_module(module).__all__ if module in PUBLIC else ()
            if module not in PUBLIC or any(
                name not in known or name.startswith("_") for name in names
            ):
                wrong.append(f"{path.relative_to(root)}: from {module} import {', '.join(names)}")
    assert not wrong


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_is_there_and_none_is_hidden(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert not public.startswith("_")
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", LAZY)
def test_no_public_name_is_that_of_a_module_beside_it(name):
    """Python would give the module once it is imported, and the name before."""
    package = importlib.import_module(name)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


@pytest.mark.parametrize("name", LAZY)
def test_an_unknown_name_is_an_attribute_error(name):
    package = importlib.import_module(name)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = package.nonesuch


def test_the_public_packages_import_neither_torch_nor_numpy():
    code = f"import sys, {', '.join(LAZY)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"torch", "timm", "numpy", "pydantic", "click"} & set(done.stdout.split())
