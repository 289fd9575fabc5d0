"""What the tests of the core share."""

from __future__ import annotations

import collections
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from moekit.plugins import kept_files


@pytest.fixture
def generator() -> torch.Generator:
    """A source of random numbers, the same ones in each test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def same_bits() -> Callable[[Tensor, Tensor], bool]:
    """Whether two tensors are bitwise equal."""

    def same(first: Tensor, second: Tensor) -> bool:
        return first.shape == second.shape and torch.equal(
            first.contiguous().view(torch.int32), second.contiguous().view(torch.int32)
        )

    return same


@pytest.fixture(scope="session")
def randomise() -> Callable[..., None]:
    """Moves all parameters of a module, as training would."""

    def change(module: nn.Module, *, seed: int = 1, by: float = 1.0) -> None:
        numbers = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(by * torch.randn(parameter.shape, generator=numbers))

    return change


_counts: list[collections.Counter[Path]] = []


def _is_copied() -> bool:
    """Whether a file is only copied, to be put back if a listener changes it."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == kept_files.__file__:
            return True
        frame = frame.f_back
    return False


@pytest.fixture(scope="session")
def _audited() -> None:
    """Python tells of each file that is opened, whoever opens it; this cannot be undone."""

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or not _counts:
            return
        path, mode, _ = arguments
        written = isinstance(mode, str) and not mode.startswith("r")
        if isinstance(path, str | os.PathLike) and not written and not _is_copied():
            for count in _counts:
                count[Path(path)] += 1

    sys.addaudithook(hear)


@pytest.fixture
def reads(_audited: None) -> Iterator[collections.Counter[Path]]:
    """How often each file was opened to be read since the test began, or since it was cleared."""
    _counts.append(collections.Counter())
    yield _counts[-1]
    _counts.pop()


@pytest.fixture
def picture() -> Image.Image:
    """A gradient with noise, so that a lossy or truncated copy differs from it."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 48)[:, None, None] + np.zeros((48, 64, 3))
    return Image.fromarray((ramp + generator.integers(0, 40, ramp.shape)).astype(np.uint8))


@pytest.fixture
def two_class_folder(tmp_path: Path, picture: Image.Image) -> Path:
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
