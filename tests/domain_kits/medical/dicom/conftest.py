"""The synthetic series and the table of what may be done to it.

A test that asks for `mutation` runs once for each row of `MUTATIONS`.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import dicom_mutations_of_files  # noqa: F401  # adds its rows to the table
import dicom_mutations_of_places  # noqa: F401
from dicom_series import MUTATIONS, write_series


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mutation" in metafunc.fixturenames:
        metafunc.parametrize("mutation", MUTATIONS, ids=[row.name for row in MUTATIONS])


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A folder with the series."""
    write_series(tmp_path / "series")
    return tmp_path / "series"
