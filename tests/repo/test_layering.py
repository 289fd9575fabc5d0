"""Imports go one way, the core knows no domain, kits do not know each other."""

import ast
import re

import pytest

LAYERS = [
    "cli",
    "bench",
    "testing",
    "builtin",
    "export",
    "report",
    "prediction",
    "training",
    "tasks",
    "evaluation",
    "runtime",
    "runs",
    "plugins",
    "scale",
    "contract",
    "backbone",
    "moe",
    "data",
]
BOTTOM = {"errors", "files"}
# Moves alone: what is left goes with the change that follows.
EXEMPT = {
    ("contract/fitting.py", "runtime"),
    ("contract/fitting.py", "training"),
    ("contract/records.py", "tasks"),
    ("evaluation/bootstrap.py", "tasks"),
    ("evaluation/evaluate.py", "tasks"),
    ("evaluation/evaluate.py", "training"),
    ("evaluation/summary.py", "tasks"),
    ("runtime/kit.py", "tasks"),
    ("runtime/runtime.py", "tasks"),
}
DOMAIN_WORDS = re.compile(
    r"\b(lesion|nodule|dicom|patient|defect|elpv|solar|scratch|overkill|industrial|medical)",
    re.IGNORECASE,
)
# Where the core explains a general thing by an example of a field.
ALLOWED = {"data/samples.py", "contract/records.py", "contract/kits.py"}


def imports_of(path):
    """Modules that a file imports at run time; those for type checking are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def core_files(root, sources):
    package = root / "core" / "moekit"
    return [(path, path.relative_to(package)) for path in sources if package in path.parents]


def test_imports_go_down_only(root, sources):
    wrong = []
    for path, name in core_files(root, sources):
        layer = name.parts[0]
        if layer not in LAYERS:
            continue
        for module in imports_of(path):
            parts = module.split(".")
            if parts[0] != "moekit" or len(parts) < 2 or parts[1] in BOTTOM:
                continue
            upward = parts[1] in LAYERS and LAYERS.index(parts[1]) < LAYERS.index(layer)
            if upward and (name.as_posix(), parts[1]) not in EXEMPT:
                wrong.append(f"{name} imports {module}")
    assert not wrong


def test_the_bottom_imports_nothing_above_it(root, sources):
    for path, name in core_files(root, sources):
        if name.stem in BOTTOM and len(name.parts) == 1:
            upward = [module for module in imports_of(path) if module.startswith("moekit.")]
            assert set(upward) <= {"moekit.errors"}, name


def test_the_core_imports_no_kit_and_a_kit_no_other(root, sources):
    kits = {"moekit_industrial", "moekit_medical"}
    for path in sources:
        own = {part for part in path.parts if part in kits}
        for module in imports_of(path):
            assert module.split(".")[0] not in kits - own, path


def test_the_core_knows_no_word_of_any_domain(root, sources):
    for path, name in core_files(root, sources):
        if name.as_posix() in ALLOWED:
            continue
        found = DOMAIN_WORDS.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{name}: {found.group()}"


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_is_there(root, layer):
    assert (root / "core" / "moekit" / layer / "__init__.py").is_file()
