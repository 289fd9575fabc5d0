"""The documentation site: what it shows is there, and every page has a place in it."""

import re
import runpy

import pytest
import yaml


@pytest.fixture(scope="module")
def pages(root):
    """The pages that the site's navigation names."""
    text = (root / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    return re.findall(r"[\w/]+\.md", str(yaml.safe_load(text)["nav"]))


def test_each_page_of_the_site_is_there(root, pages):
    assert len(pages) > 15
    assert [page for page in pages if not (root / page).is_file()] == []


def test_each_page_of_docs_is_in_the_site(root, pages):
    known = {path.relative_to(root).as_posix() for path in (root / "docs").glob("*.md")}
    assert known <= set(pages)


def test_pages_and_what_they_link_to_are_copied_with_their_places(root, tmp_path):
    copies = runpy.run_path(str(root / "docs" / "build.py"))["copy_pages"](tmp_path / "docs")
    assert tmp_path / "docs" / "README.md" in copies
    links = [
        (copy, target)
        for copy in copies
        if copy.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)", copy.read_text(encoding="utf-8"))
        if not target.startswith("http")
    ]
    lost = [(copy.name, target) for copy, target in links if not (copy.parent / target).is_file()]
    assert lost == []
