"""The pooled head: its score, its gradient and its map."""

import pytest
import torch

from moekit import Grid, PooledHead
from moekit.runtime.heads import _pool

GRID = Grid(4, 5)


def tokens(blocks=2, images=3, width=8):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, 21, width, generator=generator) for _ in range(blocks)]


def trained_head():
    torch.manual_seed(0)
    head = PooledHead(8, 2)
    for _ in range(20):
        head(tokens(images=16), GRID)
    return head.eval()


def test_the_heads_gradient_is_that_of_automatic_differentiation():
    head, given = trained_head(), tokens()
    pooled = torch.cat([_pool(x_BND, GRID) for x_BND in given], dim=1).requires_grad_()
    hidden = head.hidden(head.norm(pooled))
    logit = head.score(torch.nn.functional.gelu(hidden))[:, 0]
    (expected,) = torch.autograd.grad(logit.sum(), pooled)
    torch.testing.assert_close(head._gradient(hidden), expected, rtol=1e-4, atol=1e-6)


def test_evidence_lies_between_nothing_and_the_score():
    output = trained_head()(tokens(), GRID)
    assert output.map_BHW.shape == (3, 4, 5)
    assert output.map_BHW.min() >= 0
    peak = output.map_BHW.amax(dim=(1, 2))
    assert torch.all(peak <= output.logit_B.sigmoid() + 1e-6)


def test_evidence_points_at_the_patch_that_raises_the_score():
    head, given = trained_head(), tokens(images=1)
    before = head(given, GRID).logit_B
    best, gain = None, 0.0
    for patch in range(20):
        raised = [x_BND.clone() for x_BND in given]
        for x_BND in raised:
            x_BND[:, 1 + patch] = x_BND[:, 1:].mean(1)
        drop = (before - head(raised, GRID).logit_B).item()
        if drop > gain:
            best, gain = patch, drop
    heat = head(given, GRID).map_BHW[0]
    row, column = divmod(best, 5)
    near = heat[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    assert near.max() >= heat.flatten().quantile(0.7)


def test_the_head_answers_for_each_image_alone():
    head, given = trained_head(), tokens()
    together = head(given, GRID)
    alone = head([x_BND[1:2] for x_BND in given], GRID)
    torch.testing.assert_close(together.logit_B[1:2], alone.logit_B)
    torch.testing.assert_close(together.map_BHW[1:2], alone.map_BHW)


@pytest.mark.parametrize("images", [1, 2])
def test_the_smallest_batches_run(images):
    assert trained_head()(tokens(images=images), GRID).logit_B.shape == (images,)
