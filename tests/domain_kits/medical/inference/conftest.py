"""A thorax, drawn once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from inference_series import Thorax, draw, write_series

from moekit_medical.volume import Volume


@pytest.fixture(scope="session")
def thorax() -> Volume:
    """Two lungs with one nodule; nobody may change it."""
    return draw(Thorax(step_mm=5.0, pixel_mm=2.0))


@pytest.fixture
def series(tmp_path: Path, thorax: Volume) -> Path:
    """A folder with the thorax as DICOM."""
    write_series(tmp_path / "Jane_Doe" / "ct", thorax)
    return tmp_path / "Jane_Doe"
