"""Everything public is documented; a name without an underscore is public."""

import ast

import pytest

CLASS_OR_FUNCTION = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def public_nodes(tree, prefix=""):
    """Public classes and functions of a module, and those inside its public classes."""
    for node in tree.body:
        if not isinstance(node, CLASS_OR_FUNCTION) or is_told_elsewhere(node):
            continue
        if not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public_nodes(node, f"{prefix}{node.name}.")


def is_told_elsewhere(node):
    """The setter of a property, whose getter carries the text; a signature of a function's."""
    names = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(name.endswith(".setter") or name == "overload" for name in names)


@pytest.fixture(scope="module")
def trees(root, sources):
    """The parsed source files of core and kits, by path."""
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sources
    }


def test_each_module_says_what_it_is_for(trees):
    assert len(trees) > 50
    silent = [name for name, tree in trees.items() if not ast.get_docstring(tree)]
    assert not silent


def test_each_public_class_and_function_is_documented(trees):
    silent = [
        f"{path}: {name}"
        for path, tree in trees.items()
        for name, node in public_nodes(tree)
        if not ast.get_docstring(node)
    ]
    assert not silent
