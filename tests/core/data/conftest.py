"""Small real pictures, written by Pillow."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture():
    """A gradient with noise, so that a lossy or truncated copy is told from it."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 48)[:, None, None] + np.zeros((48, 64, 3))
    return Image.fromarray((ramp + generator.integers(0, 40, ramp.shape)).astype(np.uint8))


@pytest.fixture
def two_class_folder(tmp_path, picture):
    """20 good and 12 scratched parts in class sub-folders, no two alike."""
    for name, count in (("good", 20), ("scratched", 12)):
        for number in range(count):
            pixels = np.asarray(picture).copy()
            pixels[number % 48, :] = 255 if name == "scratched" else 0
            pixels[:, (number * 3) % 64] = number
            path = tmp_path / "parts" / name / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "parts"
