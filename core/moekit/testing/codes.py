"""The codes of errors, read from the sources that raise them.

`python -m moekit.testing.codes PAGE FOLDER...` writes the page of all codes under the folders.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import moekit.errors
from moekit.errors import MoekitError
from moekit.files import atomic_text

ERRORS: dict[str, type[MoekitError]] = {
    name: error_class
    for name, error_class in vars(moekit.errors).items()
    if isinstance(error_class, type) and issubclass(error_class, MoekitError)
}
"""The classes of the error tree by name."""

_ODD = re.compile(r"[`|<>*\s]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Build:
    """One place in a source that builds an error, or calls a function that does.

    Attributes:
        path: The source.
        line: Its line there, from 1.
        builds: The class built, or the name of the function that is called.
        given: What `code` is given there: literals, and the source text of anything else.
        says: The message as far as it stands there, with `…` for what is filled in; the advice
            if there is none.
    """

    path: Path
    line: int
    builds: str
    given: tuple[str, ...]
    says: str

    @property
    def codes(self) -> tuple[str, ...]:
        """The literal codes."""
        return tuple(ast.literal_eval(text) for text in self.given if text[0] in "'\"")


def builds_of(folders: Iterable[Path]) -> Iterator[Build]:
    """All places under the folders that build an error of the tree or hand on a code."""
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield from _build(node, path)


def render(builds: Sequence[Build]) -> str:
    """The page of all codes, as Markdown."""
    return "\n".join(_lines(builds)) + "\n"


def _build(call: ast.Call, path: Path) -> Iterator[Build]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    values = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    given = tuple(text for value in values for text in _leaves(value))
    if name in ERRORS or any("/" in text for text in given):
        fixes = [keyword.value for keyword in call.keywords if keyword.arg == "fix"]
        says = next(filter(None, map(_text, [*call.args, *fixes])), "")
        yield Build(path=path, line=call.lineno, builds=name, given=given, says=says)


def _leaves(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.IfExp):
        yield from _leaves(value.body)
        yield from _leaves(value.orelse)
    else:
        yield ast.unparse(value)


def _text(value: ast.expr) -> str:
    """The words of a message; empty if it is no text that stands there."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else ""
    if isinstance(value, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in value.values)
    if isinstance(value, ast.IfExp):
        return _text(value.body)
    return _text(value.left) if isinstance(value, ast.BinOp) else ""


def _lines(builds: Sequence[Build]) -> Iterator[str]:
    yield "# The codes of errors"
    yield ""
    yield "Rendered by `python -m moekit.testing.codes docs/ERRORS.md core domain_kits plugins`"
    yield "from the code; a test holds it. A code stays the same when its message changes."
    yield "It stands in brackets behind the message, and is the `code` of a `moekit.MoekitError`."
    yield "An error of a plugin that gives no code has `PREFIX/other`."
    for name, error_class in ERRORS.items():
        yield from ("", f"## {name}: `{error_class.prefix}/`, exit {error_class.exit_code}", "")
        yield from ("| code | such as |", "| --- | --- |")
        for code in sorted({code for build in builds for code in build.codes}):
            if code.startswith(f"{error_class.prefix}/"):
                yield f"| `{code}` | {_clearest(one.says for one in builds if code in one.codes)} |"


def _clearest(texts: Iterable[str]) -> str:
    """The first of those in which the least is filled in."""
    found = min(filter(None, texts), key=lambda text: text.count("…"))
    return _ODD.sub(" ", found).replace("……", "…").strip()


if __name__ == "__main__":
    with atomic_text(Path(sys.argv[1])) as _file:
        _file.write(render(list(builds_of(map(Path, sys.argv[2:])))))
