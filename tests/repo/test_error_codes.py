"""Each error carries a code; the page of codes is rendered from the sources."""

from __future__ import annotations

import ast
import re

import pytest

from moekit import DataError, ImageError, MoekitError
from moekit.testing.codes import ERRORS, builds_of, render

FORM = re.compile(r"([a-z]+)/[a-z0-9]+(-[a-z0-9]+)*")
HANDED_ON = {"code", "error.code"}
"""What a function that builds an error for others gives as the code."""


@pytest.fixture(scope="module")
def builds(root):
    return list(builds_of(root / name for name in ("core", "domain_kits", "plugins")))


def told(build):
    return f"{build.path}:{build.line}"


def test_each_error_is_built_with_a_code(builds):
    built = [build for build in builds if build.builds in ERRORS]
    assert len(built) > 350
    assert not [told(build) for build in built if not build.given]


def test_a_code_stands_where_the_error_is_raised(builds):
    odd = [
        told(build)
        for build in builds
        if not all(text in HANDED_ON or text[0] in "'\"" for text in build.given)
    ]
    assert not odd


def test_a_code_is_the_prefix_of_its_class_and_a_few_words(builds):
    prefixes = {one.prefix for one in ERRORS.values()}
    for build in builds:
        for code in build.codes:
            form = FORM.fullmatch(code)
            assert form, f"{told(build)}: {code}"
            assert len(code) <= 28, f"{told(build)}: {code}"
            allowed = {ERRORS[build.builds].prefix} if build.builds in ERRORS else prefixes
            assert form[1] in allowed, f"{told(build)}: {code}"


def test_a_function_that_hands_on_a_code_is_given_codes_of_its_error(sources, builds):
    """Its parameter is needed, and in its module all calls have the prefix of what it returns."""
    makers = 0
    for path in sources:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text if "code: str" in text else "")
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            kind = ERRORS.get(ast.unparse(function.returns) if function.returns else "")
            options = dict(zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True))
            given = {option.arg: default for option, default in options.items()}
            if kind is None or "code" not in given:
                continue
            makers += 1
            assert given["code"] is None, f"{path}: {function.name} has a code of its own"
            calls = [one for one in builds if (one.path, one.builds) == (path, function.name)]
            for code in [code for call in calls for code in call.codes]:
                assert code.startswith(f"{kind.prefix}/"), f"{path}: {code}"
    assert makers > 10


def test_prefixes_are_different():
    assert len({one.prefix for one in ERRORS.values()}) == len(ERRORS)


def test_an_error_without_a_code_says_whose_it_is():
    assert MoekitError("it failed", whose="a file", fix="mend it").code == "error/other"
    assert ImageError("it failed", whose="a file", fix="mend it").code == "image/other"
    own = type("OfAPlugin", (DataError,), {})("it failed", whose="a file", fix="mend it")
    assert own.code == "data/other"


def test_the_page_of_codes_is_rendered_from_the_sources(root, builds):
    assert (root / "docs" / "ERRORS.md").read_text(encoding="utf-8") == render(builds)
