"""What the tests of the core share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Tests of the core compute on one thread."""


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
