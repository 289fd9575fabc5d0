"""Imports go one way, the core knows no domain, its floors know no task."""

import ast
import re

import pytest

LAYERS = [
    "cli",
    "serve",
    "jobs",
    "bench",
    "testing",
    "builtin",
    "export",
    "report",
    "prediction",
    "pretraining",
    "training",
    "corrections",
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
BOTTOM = {"errors", "files", "json_text", "licences", "names", "tables", "text", "xml_text"}
DOMAIN_WORDS = re.compile(
    r"\b(lesion|nodule|dicom|patient|defect|elpv|solar|scratch|overkill|industrial|medical)",
    re.IGNORECASE,
)
# Where the core explains a general thing by an example of a field.
ALLOWED = {"data/samples.py", "contract/kits.py"}

OF_NO_TASK = {
    *("data", "runtime", "training", "evaluation", "prediction", "report", "export", "serve"),
}
"""Floors that hand named tensors on."""
TASK_WORDS = re.compile(
    r"\b\w*(logit|sigmoid|threshold|auroc|confusion|probabilit|segment|classif|detect)\w*"
    r"|(?<![a-z])(positives?|negatives?|masks?|lesions?)(?![a-z])",
    re.IGNORECASE,
)
# Names of fields that plugins of API 1.x set, and options that users know.
OLD_NAMES = re.compile(r"\b(negatives_only|threshold_rule)\b|--threshold-rule")
TASK_WORDS_ALLOWED = {
    "data/class_masks.py": "reads masks of class numbers as pictures, by their table",
    "data/__init__.py": "names what images.py offers",
    "data/conversion.py": "masks are pictures, and are read by the rules of pictures",
    "data/fingerprint.py": "hashes the pictures that such a field of `Sample` names",
    "data/images.py": "the same: `read_mask` is public since API 1.0",
    "data/lossy.py": "masks are pictures that must not have been compressed with loss",
    "data/mask_frames.py": "masks are pictures of one frame",
    "data/mask_table.py": "the loader says what the values of such a picture mean",
    "data/mask_turn.py": "masks are pictures, turned as those that they are drawn for",
    "data/negatives.py": "sets without positives, which loaders of API 1.x split by it",
    "data/samples.py": "fields of `Sample` and `Dataset` of API 1.x",
    "data/splits.py": "sets without positives, which loaders of API 1.x split by it",
    "training/recover/student.py": "chooses experts by a mask with a sigmoid slope, not items",
}


def imports_of(path, known=frozenset()):
    """Modules that a file imports, those for type checking included.

    Where a package's name is a module that is `known`, the module is meant, not the package.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def core_files(root, sources):
    package = root / "core" / "moekit"
    return [(path, path.relative_to(package)) for path in sources if package in path.parents]


def circles_of(graph):
    """Groups of modules that import each other (Tarjan 1972)."""
    number, lowest, stack, found = {}, {}, [], []

    def visit(module):
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in graph[module]:
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1 or module in graph[module]:
                found.append(sorted(group))

    for module in graph:
        if module not in number:
            visit(module)
    return found


def test_imports_go_down_only(root, sources):
    wrong = []
    for path, name in core_files(root, sources):
        layer = name.parts[0]
        if layer not in LAYERS:
            continue
        for module in imports_of(path):
            parts = module.split(".")
            own = parts[0] == "moekit" and len(parts) > 1 and parts[1] in LAYERS
            if own and LAYERS.index(parts[1]) < LAYERS.index(layer):
                wrong.append(f"{name} imports {module}")
    assert not wrong


def test_each_folder_of_the_core_has_its_layer(root, sources):
    folders = {name.parts[0] for _, name in core_files(root, sources) if len(name.parts) > 1}
    assert folders == set(LAYERS)


def test_no_module_of_the_core_is_part_of_a_circle(root, sources):
    names = {}
    for path, name in core_files(root, sources):
        parts = ("moekit", *name.with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    # The package itself names everything for type checkers, and imports it when it is asked for.
    path_of = {name: path for name, path in names.items() if name != "moekit"}
    assert len(path_of) > 100
    graph = {
        name: {module for module in imports_of(path, path_of) if module in path_of}
        for name, path in path_of.items()
    }
    assert not circles_of(graph)


def test_a_circle_is_found():
    assert circles_of({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles_of({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_of_the_core_imports_the_package_itself(root, sources):
    for path, name in core_files(root, sources):
        assert "moekit" not in set(imports_of(path)), name


def test_the_bottom_imports_nothing_above_it(root, sources):
    for path, name in core_files(root, sources):
        if name.stem in BOTTOM and len(name.parts) == 1:
            upward = [module for module in imports_of(path) if module.startswith("moekit.")]
            lower = {
                f"moekit.{name}" for name in ("errors", "json_text", "names", "text", "xml_text")
            }
            assert set(upward) <= lower, name


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


def test_the_floors_below_the_tasks_know_no_word_of_any_task(root, sources):
    wrong, excused = [], set()
    for path, name in core_files(root, sources):
        if name.parts[0] not in OF_NO_TASK:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            found = TASK_WORDS.search(OLD_NAMES.sub("", line))
            if found and name.as_posix() in TASK_WORDS_ALLOWED:
                excused.add(name.as_posix())
            elif found:
                wrong.append(f"{name}:{number}: {found.group()}")
    assert not wrong
    assert excused == set(TASK_WORDS_ALLOWED), "take what needs no excuse out of the list"


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_is_there(root, layer):
    assert (root / "core" / "moekit" / layer / "__init__.py").is_file()
