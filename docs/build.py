"""Builds the documentation site into `build/site`: `make docs`.

The pages lie where people read them in the repository. They are copied with their places, so that
links between them hold, and MkDocs builds the copy.

    python docs/build.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/*.md", "plugins/*.md", "plugins/*/*.md", "domain_kits/*/*.md")
LINKED = (
    "docs/*.svg",
    "docs/pictures/*.png",
    "docs/pictures/*.py",
    "docs/pictures/*.svg",
    "core/moekit/backbone/sparse/shipped/*.md",
    "examples/*.py",
    "plugins/*.json",
    "deploy/*.yaml",
    "deploy/systemd/*",
    "tests/benchmarks/results/*.json",
)


def copy_pages(target: Path) -> list[Path]:
    """Copies pages, and the files that they link to.

    Args:
        target: A folder; what it held is removed.

    Returns:
        The copies.
    """
    shutil.rmtree(target, ignore_errors=True)
    copies = []
    for pattern in (*PAGES, *LINKED):
        for path in sorted(ROOT.glob(pattern)):
            copy = target / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            copies.append(copy)
    return copies


def main() -> None:
    """Copies the pages and builds the site; a broken link is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    copy_pages(ROOT / "build" / "docs")
    build(load_config(str(ROOT / "docs" / "mkdocs.yml"), strict=True))


if __name__ == "__main__":
    main()
