"""The part and its background, found from normal images."""

from __future__ import annotations

import torch

from moekit import Grid
from moekit_industrial.anomaly.foreground import fit_foreground, grown, shows_part

GRID = Grid(12, 12)


def pictures(sign: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Parts of 4 x 4 patches somewhere inside, with what the background is made of around."""
    draw = torch.Generator().manual_seed(0)
    part = torch.zeros(20, 12, 12, dtype=torch.bool)
    for number in range(20):
        row, column = torch.randint(2, 7, (2,), generator=draw).tolist()
        part[number, row : row + 4, column : column + 4] = True
    part = part.flatten(1)
    axis = torch.randn(16, generator=draw)
    x_BPF = 0.2 * torch.randn(20, 144, 16, generator=draw) + sign * part[:, :, None] * axis + 3
    return x_BPF, part


def test_a_part_on_a_background_is_found_whichever_way_the_axis_points() -> None:
    for sign in (1.0, -1.0):
        x_BPF, part = pictures(sign)
        found = shows_part(x_BPF, fit_foreground(x_BPF, GRID), GRID)
        assert torch.equal(found, grown(part, GRID))


def test_a_texture_has_no_background() -> None:
    draw = torch.Generator().manual_seed(0)
    two_shades = torch.randint(2, (20, 144, 1), generator=draw) * torch.randn(16, generator=draw)
    x_BPF = two_shades + 0.2 * torch.randn(20, 144, 16, generator=draw)
    assert shows_part(x_BPF, fit_foreground(x_BPF, GRID), GRID).all()


def test_a_part_that_fills_the_picture_has_no_background() -> None:
    x_BPF, _ = pictures()
    x_BPF[:, : 12 * 11] = x_BPF[:, :1] + 5
    assert shows_part(x_BPF, fit_foreground(x_BPF, GRID), GRID).all()
