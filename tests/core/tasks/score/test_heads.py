"""The pooled head: its score, its gradient and its map."""

import pytest
import torch

from moekit import Grid, PooledHead, Recipe
from moekit.tasks.parts.summaries import SUMMARIES, View
from moekit.tasks.score.learn import MEMBERS, loss

GRID = Grid(4, 5)


def tokens(blocks=2, images=3, width=8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, 21, width, generator=generator) for _ in range(blocks)]


ALL = tuple(SUMMARIES)


def trained_head(summaries=("class", "mean", "maximum"), members=1):
    torch.manual_seed(0)
    head = PooledHead(8, 2, summaries=summaries, members=members)
    for _ in range(20):
        head(tokens(images=16), GRID)
    return head.eval()


@pytest.mark.parametrize("members", [1, 3])
def test_the_heads_gradient_is_that_of_automatic_differentiation(members):
    head, given = trained_head(ALL, members), tokens()
    pooled = head._pool([View.of(x_BND, GRID) for x_BND in given]).requires_grad_()
    hidden = head.hidden(head.norm(pooled))
    weight, bias = head.score.weight.reshape(1, -1) / members, head.score.bias.mean()
    logit = (torch.nn.functional.gelu(hidden) @ weight.T)[:, 0] + bias
    (expected,) = torch.autograd.grad(logit.sum(), pooled)
    torch.testing.assert_close(head._gradient(hidden), expected, rtol=1e-4, atol=1e-6)


def test_evidence_lies_between_nothing_and_the_score():
    output = trained_head()(tokens(), GRID)
    assert output["map_BHW"].shape == (3, 4, 5)
    assert output["map_BHW"].min() >= 0
    peak = output["map_BHW"].amax(dim=(1, 2))
    assert torch.all(peak <= output["logit_B"].sigmoid() + 1e-6)


def test_evidence_points_at_the_patch_that_raises_the_score():
    head, given = trained_head(), tokens(images=1)
    before = head(given, GRID)["logit_B"]
    best, gain = None, 0.0
    for patch in range(20):
        raised = [x_BND.clone() for x_BND in given]
        for x_BND in raised:
            x_BND[:, 1 + patch] = x_BND[:, 1:].mean(1)
        drop = (before - head(raised, GRID)["logit_B"]).item()
        if drop > gain:
            best, gain = patch, drop
    heat = head(given, GRID)["map_BHW"][0]
    row, column = divmod(best, 5)
    near = heat[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    assert near.max() >= heat.flatten().quantile(0.7)


def test_the_head_answers_for_each_image_alone():
    head, given = trained_head(), tokens()
    together = head(given, GRID)
    alone = head([x_BND[1:2] for x_BND in given], GRID)
    torch.testing.assert_close(together["logit_B"][1:2], alone["logit_B"])
    torch.testing.assert_close(together["map_BHW"][1:2], alone["map_BHW"])


@pytest.mark.parametrize("images", [1, 2])
def test_the_smallest_batches_run(images):
    assert trained_head()(tokens(images=images), GRID)["logit_B"].shape == (images,)


STACKS = Grid(4, 5, frames=3)


def test_a_stack_is_pooled_as_one():
    given = tokens(blocks=1, images=6)[0]
    pooled = PooledHead(8, 1)._pool([View.of(given, STACKS)]).unflatten(1, (3, 8))
    for number in range(2):
        frames = given[3 * number : 3 * number + 3]
        torch.testing.assert_close(pooled[number, 0], frames[:, 0].mean(0))
        torch.testing.assert_close(pooled[number, 1], frames[:, 1:].mean((0, 1)))
        assert torch.equal(pooled[number, 2], frames[:, 1:].amax((0, 1)))


def test_three_equal_frames_score_as_one_of_them():
    head, given = trained_head(), tokens()
    repeated = [x_BND.repeat_interleave(3, dim=0) for x_BND in given]
    single, stack = head(given, GRID), head(repeated, STACKS)
    torch.testing.assert_close(stack["logit_B"], single["logit_B"], rtol=1e-5, atol=1e-5)


def test_the_map_of_a_stack_is_that_of_its_middle_frame():
    head, given = trained_head(), tokens(images=6)
    output = head(given, STACKS)
    assert output["map_BHW"].shape == (2, 4, 5)
    assert torch.all(output["map_BHW"].amax((1, 2)) <= output["logit_B"].sigmoid() + 1e-6)
    order = [1, 0, 2, 3, 4, 5]  # another frame in the middle of the first stack
    moved = head([x_BND[order] for x_BND in given], STACKS)
    torch.testing.assert_close(moved["logit_B"], output["logit_B"])
    assert not torch.allclose(moved["map_BHW"][0], output["map_BHW"][0])
    torch.testing.assert_close(moved["map_BHW"][1], output["map_BHW"][1])


def test_the_head_answers_for_each_stack_alone():
    head, given = trained_head(), tokens(images=6)
    together = head(given, STACKS)
    alone = head([x_BND[3:] for x_BND in given], STACKS)
    torch.testing.assert_close(together["logit_B"][1:], alone["logit_B"])
    torch.testing.assert_close(together["map_BHW"][1:], alone["map_BHW"])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("grid", [GRID, STACKS])
def test_a_patchs_part_is_its_gradient_times_its_offset_from_the_mean(name, grid):
    given = tokens(blocks=1, images=6)[0]
    view = View.of(given, grid)
    patches = view.patches_BPD.requires_grad_()
    value_BD = SUMMARIES[name].value(view)
    of_BD = torch.randn(value_BD.shape, generator=torch.Generator().manual_seed(1))
    expected = torch.zeros(patches.shape[:2])
    if value_BD.requires_grad:
        (slope_BPD,) = torch.autograd.grad((value_BD * of_BD).sum(), patches)
        expected = (slope_BPD * view.offset_BPD).sum(2)
    part_BP = SUMMARIES[name].part(view, of_BD)
    torch.testing.assert_close(part_BP, expected.detach(), rtol=1e-4, atol=1e-6)


def test_the_centre_is_the_middle_of_the_picture():
    spot = torch.zeros(1, 65, 1)
    spot[0, 1 + 8 * 3 + 3] = 1.0
    corner = torch.zeros(1, 65, 1)
    corner[0, 1] = 1.0
    centre = SUMMARIES["centre"].value
    inside, outside = (centre(View.of(one, Grid(8, 8))).item() for one in (spot, corner))
    assert inside > 100 * outside
    assert centre(View.of(torch.ones(1, 65, 1), Grid(8, 8))).item() == pytest.approx(1)


def test_members_answer_with_their_mean_and_each_learns_from_its_own_loss():
    head, given = trained_head(members=3), tokens()
    hidden = torch.nn.functional.gelu(
        head.hidden(head.norm(head._pool([View.of(x_BND, GRID) for x_BND in given])))
    )
    each = [hidden[:, 64 * m : 64 * m + 64] @ head.score.weight[m] for m in range(3)]
    expected = torch.stack(each).mean(0) + head.score.bias.mean()
    torch.testing.assert_close(head(given, GRID)["logit_B"], expected)
    targets = {"label_B": torch.tensor([0.0, 1.0, 1.0])}
    outputs = head.train()(given, GRID)
    found = loss(outputs, targets, Recipe(soft_targets=False))
    losses = [
        torch.nn.functional.binary_cross_entropy_with_logits(logit_B, targets["label_B"])
        for logit_B in outputs[MEMBERS].unbind(1)
    ]
    torch.testing.assert_close(found, torch.stack(losses).mean())
    found.backward()
    assert head.score.weight.grad.abs().sum(1).min() > 0
