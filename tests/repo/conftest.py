"""Where the repository lies, and the files it tracks."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def tracked(root):
    """All files of the repository that git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [root / line for line in listing.stdout.splitlines()]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="session")
def sources(tracked):
    """The Python files of the distributions."""
    return [
        path
        for path in tracked
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in ("core", "domain_kits", "plugins")
    ]
