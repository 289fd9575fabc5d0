"""Heads: shapes on any grid, precision, learning, and the exported graph."""

import functools

import pytest
import torch
from torch import nn

from moekit import Grid
from moekit.contract.outputs import HeadSite
from moekit.tasks.segment.head import LOGIT, FusionSegHead, LinearSegHead

SITE = HeadSite(width=24, blocks=3, classes=5)
HEADS = {
    "linear": (LinearSegHead, 1),
    "attention": (functools.partial(FusionSegHead, width=16), 4),
    "concatenation": (functools.partial(FusionSegHead, fusion="concatenation", width=16), 4),
    "twice": (functools.partial(FusionSegHead, width=16, upsample=2), 2),
    "none": (functools.partial(FusionSegHead, width=16, upsample=1), 1),
}


def tokens(generator, grid, count=2, prefix=5):
    shape = (count * grid.frames, prefix + grid.patches, SITE.width)
    return [torch.randn(shape, generator=generator) for _ in range(SITE.blocks)]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("grid", [Grid(4, 4), Grid(3, 7), Grid(2, 3, 3)])
def test_logits_lie_over_the_whole_input(name, grid, generator):
    build, times = HEADS[name]
    found = build(SITE)(tokens(generator, grid), grid)
    assert set(found) == {LOGIT}
    assert found[LOGIT].shape == (2, 5, times * grid.rows, times * grid.columns)
    assert found[LOGIT].dtype == torch.float32


@pytest.mark.parametrize("name", HEADS)
def test_half_precision_around_it_changes_nothing(name, generator):
    head, grid = HEADS[name][0](SITE).eval(), Grid(3, 4)
    given = tokens(generator, grid)
    with torch.no_grad():
        plain = head(given, grid)[LOGIT]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(head(given, grid)[LOGIT], plain)


@pytest.mark.parametrize("name", HEADS)
def test_a_step_reaches_every_parameter(name, generator, randomise):
    head, grid = HEADS[name][0](SITE), Grid(3, 4)
    randomise(head, by=0.1)
    head(tokens(generator, grid), grid)[LOGIT].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert all(p.grad.abs().sum() > 0 for p in head.parameters() if p.ndim > 1)


@pytest.mark.parametrize("name", ["attention", "concatenation"])
def test_it_learns_what_lies_where(name, generator):
    """Two classes by the sign of one channel of the second block; linear in no other block."""
    grid = Grid(6, 6)
    head = HEADS[name][0](HeadSite(width=24, blocks=3, classes=2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in head.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module is not head.classify:
                module.reset_parameters()
        given = tokens(generator, grid, count=8)
        truth = (given[1][:, 5:, 0] > 0).long().reshape(8, 6, 6)
        truth = truth.repeat_interleave(4, 1).repeat_interleave(4, 2)
        steps = torch.optim.AdamW(head.parameters(), lr=3e-3)
        for _ in range(60):
            steps.zero_grad()
            loss = nn.functional.cross_entropy(head(given, grid)[LOGIT], truth)
            loss.backward()
            steps.step()
        head.eval()
        right = (head(given, grid)[LOGIT].argmax(1) == truth).float().mean()
    assert right > 0.9


def test_what_lies_left_stays_left(generator):
    """Only the right half of the input moves: the left logits away from the middle stay."""
    head, grid = HEADS["attention"][0](SITE).eval(), Grid(4, 24)
    given = tokens(generator, grid)
    moved = [one.clone() for one in given]
    for one in moved:
        one[:, 5:].unflatten(1, grid)[:, :, 18:] += torch.arange(24.0)
    with torch.no_grad():
        change = (head(given, grid)[LOGIT] - head(moved, grid)[LOGIT]).abs().amax(dim=(0, 1, 2))
    assert change[: 4 * 10].max() < 1e-5
    assert change[4 * 18 :].min() > 1e-5


@pytest.mark.parametrize("name", ["linear", "attention"])
def test_the_graph_says_the_same(name, generator, tmp_path, randomise):
    pytest.importorskip("onnxruntime")
    import onnxruntime

    site = HeadSite(width=24, blocks=2, classes=5)
    head, grid = HEADS[name][0](site).eval(), Grid(3, 4)
    randomise(head, by=0.2)

    class Alone(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, x_BLND):
            return self.head(list(x_BLND.unbind(1)), grid)[LOGIT]

    given = torch.stack(tokens(generator, grid, count=3)[:2], 1)
    path = tmp_path / "head.onnx"
    torch.onnx.export(
        Alone().eval(),
        (given,),
        path,
        input_names=["tokens"],
        output_names=["logit"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        (found,) = session.run(None, {"tokens": given[:count].numpy()})
        with torch.no_grad():
            wanted = head(list(given[:count].unbind(1)), grid)[LOGIT]
        assert torch.from_numpy(found).sub(wanted).abs().max() < 1e-4


def test_a_wrong_enlargement_is_refused():
    with pytest.raises(ValueError, match="upsample is 3"):
        FusionSegHead(SITE, upsample=3)
