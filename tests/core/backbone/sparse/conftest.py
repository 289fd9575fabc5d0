"""A small FFN whose neurons form groups, and tokens that wake them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moekit.backbone.sparse.neurons import Neurons

WIDTH, NEURONS, EXPERTS = 24, 64, 8


@pytest.fixture
def neurons() -> Neurons:
    """Eight groups of eight neurons; those of a group look in nearly the same direction."""
    source = torch.Generator().manual_seed(0)
    directions_ED = torch.randn(EXPERTS, WIDTH, generator=source)
    rows_FD = directions_ED.repeat_interleave(NEURONS // EXPERTS, dim=0)
    noise_FD = 0.1 * torch.randn(NEURONS, WIDTH, generator=source)
    shuffled = torch.randperm(NEURONS, generator=source)
    return Neurons(
        w1_FD=(rows_FD + noise_FD)[shuffled],
        b1_F=torch.full((NEURONS,), -2.0),
        w2_FD=torch.randn(NEURONS, WIDTH, generator=source),
        activation=nn.GELU(),
    )


@pytest.fixture
def group_F(neurons: Neurons) -> Tensor:
    """(F,) the true group of each neuron."""
    source = torch.Generator().manual_seed(0)
    torch.randn(EXPERTS, WIDTH, generator=source)
    torch.randn(NEURONS, WIDTH, generator=source)
    true_F = torch.arange(EXPERTS).repeat_interleave(NEURONS // EXPERTS)
    return true_F[torch.randperm(NEURONS, generator=source)]


@pytest.fixture
def tokens_TD() -> Tensor:
    """(T, D) tokens."""
    return torch.randn(2000, WIDTH, generator=torch.Generator().manual_seed(1))
