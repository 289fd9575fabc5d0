"""The page on imperfect input names tests that exist and codes that there are."""

from __future__ import annotations

import ast
import functools
import re

import pytest

PAGE = "docs/IMPERFECT_INPUT.md"
AREAS = 13
MOST_WORDS = 25
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CODE = re.compile(r"`([a-z]+/[a-z0-9]+(?:-[a-z0-9]+)*)`")
HEADER = ("circumstance", "what happens", "held by")


def rows_of(text):
    """The rows of the page's tables, each as its cells."""
    cells = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("| ---")
    ]
    return [row for row in cells if row != HEADER]


def codes_of(text):
    """The codes of the page of errors."""
    return {row[0].strip("`") for row in rows_of(text) if CODE.fullmatch(row[0])}


@functools.cache
def names_in(path):
    """The names of the functions of a file; none if it is not there."""
    if not path.is_file():
        return set()
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in found if isinstance(node, ast.FunctionDef)}


def faults_of(text, root):
    """What is wrong with the rows of a page: a sentence on each."""
    known = codes_of((root / "docs/ERRORS.md").read_text(encoding="utf-8"))
    faults = []
    for row in rows_of(text):
        if len(row) != len(HEADER) or not all(row):
            faults.append(f"{row}: it has not three cells")
            continue
        named = TEST.findall(row[2])
        if not named or TEST.sub("", row[2]).replace("<br>", "").strip():
            faults.append(f"{row[0]}: the last column is no list of tests")
        faults += [
            f"there is no {path}::{name}" for path, name in named if not is_test(root, path, name)
        ]
        held = "".join(
            (root / path).read_text(encoding="utf-8")
            for path, _ in named
            if (root / path).is_file()
        )
        for code in CODE.findall(row[1]):
            if code not in known:
                faults.append(f"there is no code {code}")
            elif code not in held:
                faults.append(f"{row[0]}: no file of its tests has {code}")
        sentences = [one for cell in row[:2] for one in re.split(r"[.;](?:\s|$)", cell)]
        faults += [f"too long: {one}" for one in sentences if len(one.split()) > MOST_WORDS]
    return faults


def is_test(root, path, name):
    return name.startswith("test_") and name in names_in(root / path)


@pytest.fixture(scope="module")
def page(root):
    return (root / PAGE).read_text(encoding="utf-8")


def test_each_row_has_tests_that_exist_and_codes_that_they_hold(page, root):
    assert faults_of(page, root) == []


def test_each_area_has_rows(page):
    areas = page.split("\n## ")[1:]
    assert len(areas) == AREAS
    for area in areas:
        assert len(rows_of(area)) >= 5, area.splitlines()[0]
    names = [row[0] for row in rows_of(page)]
    assert len(set(names)) == len(names) >= 100


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("::test_", "::test_no_such_", "there is no tests/"),
        ("`tests/core/", "`tests/none/", "there is no tests/none/"),
        ("`data/not-found`", "`data/not-founded`", "there is no code data/not-founded"),
        ("`data/not-found`", "`plugin/bad-slot`", "no file of its tests has plugin/bad-slot"),
        ("`tests/", "`", "the last column is no list of tests"),
    ],
)
def test_a_wrong_name_is_a_fault(page, root, old, new, fault):
    assert old in page
    changed = page.replace(old, new, 1)
    assert [one for one in faults_of(changed, root) if fault in one]


def test_the_readme_leads_to_the_page(root):
    assert f"]({PAGE})" in (root / "README.md").read_text(encoding="utf-8")
