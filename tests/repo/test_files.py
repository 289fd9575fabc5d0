"""What no file of the repository may hold, and how long one may be."""

import ast
import re

TEXT = {".py", ".toml", ".md", ".txt", ".j2", ".json", ""}
ADDRESS = re.compile(
    r"(pypi\.org|files\.pythonhosted|/simple/|index-url|find-links|registry\.npmjs|"
    r"download\.pytorch\.org|deb\.debian)"
)
MACHINE = re.compile(r"(?<![\w.])/(work|root|home|Users|opt)/\w")
CODE_IN_WEIGHTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def test_no_file_is_longer_than_four_hundred_lines(tracked):
    long = {
        path.name: count
        for path in tracked
        if path.suffix == ".py"
        for count in [len(path.read_text(encoding="utf-8").splitlines())]
        if count > 400
    }
    assert not long


def test_no_file_names_a_registry_or_a_path_of_a_machine(tracked):
    for path in tracked:
        if path.suffix not in TEXT or path.name == "test_files.py":
            continue
        text = path.read_text(encoding="utf-8")
        for pattern in (ADDRESS, MACHINE):
            found = pattern.search(text)
            assert found is None, f"{path}: {found.group()}"


def test_the_constraints_are_versions_and_nothing_else(root):
    lines = (root / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[\w.+!]+", line) for line in pinned)
    assert not any(re.fullmatch(r"lightning==2\.6\.[23]", line) for line in pinned)


def test_no_source_unpickles_or_evaluates(sources):
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not CODE_IN_WEIGHTS & {alias.name for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in CODE_IN_WEIGHTS, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "torch.hub.load"), path


def test_no_source_writes_nan_into_json(sources):
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump"):
                given = {one.arg: ast.unparse(one.value) for one in node.keywords}
                assert given.get("allow_nan") == "False", f"{path}:{node.lineno}"


def test_the_members_carry_the_licence_of_the_whole(root):
    licence = (root / "LICENSE").read_bytes()
    members = [path.parent for path in root.glob("*/*/pyproject.toml")] + [root / "core"]
    assert len(members) >= 5
    for member in members:
        assert (member / "LICENSE").read_bytes() == licence
