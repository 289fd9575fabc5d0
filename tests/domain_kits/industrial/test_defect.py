"""The defect expert."""

import torch

from moekit import Grid
from moekit.moe.specialists import SpecialistExpert
from moekit_industrial.defect import DefectExpert

GRID = Grid(4, 5)


def tokens(blocks=2, images=3, width=8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, 21, width, generator=generator) for _ in range(blocks)]


def trained_expert():
    torch.manual_seed(0)
    expert = DefectExpert(8)
    torch.nn.init.normal_(expert.up.weight)
    return expert


def test_a_fresh_expert_puts_out_zero_and_satisfies_the_protocol():
    expert = DefectExpert(8)
    assert isinstance(expert, SpecialistExpert)
    assert torch.count_nonzero(expert(tokens()[0], GRID)) == 0


def test_the_expert_compares_a_patch_with_its_neighbours_and_no_farther():
    expert = trained_expert()
    x_BND = tokens(blocks=1)[0]
    changed = x_BND.clone()
    changed[:, 1] += 1
    moved = (expert(x_BND, GRID) - expert(changed, GRID)).abs().sum(dim=(0, 2)) > 1e-6
    reached = {1 + row * 5 + column for row in (0, 1) for column in (0, 1)}
    assert {index for index in range(21) if moved[index]} == reached


def test_the_class_token_passes_the_expert_without_neighbours():
    expert = trained_expert()
    x_BND = tokens(blocks=1)[0]
    changed = x_BND.clone()
    changed[:, 1:] = 0
    assert torch.equal(expert(x_BND, GRID)[:, 0], expert(changed, GRID)[:, 0])
