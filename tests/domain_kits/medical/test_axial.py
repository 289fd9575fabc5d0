"""The axial expert: what it sees along the axis of a stack, and what of one slice."""

import pytest
import torch

from moekit import Grid
from moekit.plugins.changes import kit_of_frames
from moekit_medical.axial import AxialExpert
from moekit_medical.kit import MEDICAL

STACK = Grid(2, 3, frames=5)


@pytest.fixture
def awake():
    torch.manual_seed(0)
    expert = AxialExpert(8).eval()
    torch.nn.init.normal_(expert.up.weight)
    return expert


def tokens(stacks=2, frames=5):
    return torch.randn(stacks * frames, 7, 8, generator=torch.Generator().manual_seed(1))


def moved(expert, x_BND, changed, grid=STACK):
    """(stacks, frames, tokens) whether the output there moved."""
    change = (expert(x_BND, grid) - expert(changed, grid)).abs().sum(2) > 1e-6
    return change.unflatten(0, (-1, grid.frames))


def test_it_puts_out_zero_before_training():
    assert not AxialExpert(8)(tokens(), STACK).any()


@pytest.mark.parametrize("token", [0, 4])
def test_a_token_sees_its_place_in_the_next_frames_and_no_more(awake, token):
    x_BND = tokens()
    changed = x_BND.clone()
    changed[5 + 2, token] += 1  # the middle frame of the second stack
    seen = moved(awake, x_BND, changed)
    assert not seen[0].any()
    assert seen[1, :, token].tolist() == [False, True, True, True, False]
    assert seen[1].sum() == 3


@pytest.mark.parametrize(("frame", "reaches"), [(0, [0, 1]), (4, [3, 4])])
def test_stacks_end_where_they_end(awake, frame, reaches):
    x_BND = tokens()
    changed = x_BND.clone()
    changed[frame] += 1
    seen = moved(awake, x_BND, changed)
    assert seen[0].any(dim=1).nonzero().flatten().tolist() == reaches
    assert not seen[1].any()


def test_it_knows_what_comes_before_from_what_comes_after(awake):
    x_BND = tokens(stacks=1)
    turned = awake(x_BND.flip(0), STACK).flip(0)
    assert not torch.allclose(turned, awake(x_BND, STACK), atol=1e-3)


def test_with_one_frame_no_token_sees_another(awake):
    x_BND = tokens(stacks=2, frames=1)
    changed = x_BND.clone()
    changed[1, 4] += 1
    seen = moved(awake, x_BND, changed, Grid(2, 3))
    assert seen.flatten().nonzero().flatten().tolist() == [7 + 4]


def test_the_kit_has_it_for_stacks_alone():
    for frames, experts in ((1, ("lesion", "lesion")), (5, ("lesion", "lesion", "axial"))):
        spec = kit_of_frames(MEDICAL, frames)
        assert {slot.experts for slot in spec.slots} == {experts}
        assert {slot.top_k for slot in spec.slots} == {len(experts) + 1}  # soft, as without it
        assert kit_of_frames(spec, frames) == spec
