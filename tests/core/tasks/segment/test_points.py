"""The head of points: what it starts as, what it changes, what it learns, and its graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from moekit import Grid
from moekit.contract.outputs import HeadSite
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.points import PointSegHead

PATCH = 14


def head_of(classes: int = 3, **options: float) -> PointSegHead:
    torch.manual_seed(0)
    site = HeadSite(width=24, blocks=2, classes=classes)
    head = PointSegHead(site, width=16, stem=8, hidden=16, **options)
    for module in head.modules():
        if isinstance(module, nn.Conv2d | nn.Conv1d | nn.Linear) and module is not head.classify:
            module.reset_parameters()
    return head


def given(generator: torch.Generator, grid: Grid, count: int = 2) -> tuple[list[Tensor], Tensor]:
    shape = (count * grid.frames, 5 + grid.patches, 24)
    frames = (grid.frames,) if grid.frames > 1 else ()
    size = (count, *frames, 3, PATCH * grid.rows, PATCH * grid.columns)
    tokens = [torch.randn(shape, generator=generator) for _ in range(2)]
    return tokens, torch.randn(size, generator=generator)


@pytest.mark.parametrize("grid", [Grid(3, 4), Grid(2, 3, 3)])
def test_it_starts_as_its_coarse_head_at_half_the_picture(
    grid: Grid, generator: torch.Generator
) -> None:
    head = head_of().eval()
    tokens, picture = given(generator, grid)
    found = head(tokens, grid, picture)[LOGIT]
    coarse = head.coarse(tokens, grid)[LOGIT]
    assert found.shape == (2, 3, 7 * grid.rows, 7 * grid.columns)
    wanted = nn.functional.interpolate(coarse, size=found.shape[-2:], mode="bilinear")
    assert torch.equal(found, wanted)


def test_only_the_least_certain_places_change(generator: torch.Generator) -> None:
    head, grid = head_of(share=0.2).eval(), Grid(3, 4)
    tokens, picture = given(generator, grid)
    before = head(tokens, grid, picture)[LOGIT]
    nn.init.normal_(head.classify.weight, generator=generator)
    changed_BS = (head(tokens, grid, picture)[LOGIT] != before).any(1).flatten(1)
    top = before.flatten(2).topk(2, dim=1).values
    margin_BS = top[:, 0] - top[:, 1]
    assert (changed_BS.sum(1) == round(0.2 * changed_BS.shape[1])).all()
    for changed_S, margin_S in zip(changed_BS, margin_BS, strict=True):
        assert margin_S[changed_S].max() <= margin_S[~changed_S].min()


def test_an_image_is_answered_as_by_itself(
    generator: torch.Generator, randomise: Callable[..., None]
) -> None:
    head, grid = head_of().eval(), Grid(3, 4)
    randomise(head, by=0.1)
    tokens, picture = given(generator, grid, count=3)
    every = head(tokens, grid, picture)[LOGIT]
    alone = head([one[1:2] for one in tokens], grid, picture[1:2])[LOGIT]
    torch.testing.assert_close(alone, every[1:2])


def test_it_finds_outlines_that_only_pixels_show(generator: torch.Generator) -> None:
    """Tokens know which patches hold an edge; only the picture says where in the patch it lies."""
    grid, count = Grid(3, 3), 6
    side = PATCH * grid.columns
    edge_B = torch.randint(PATCH, 2 * PATCH, (count,), generator=generator)
    truth_BHW = (torch.arange(side)[None, None] >= edge_B[:, None, None]).expand(-1, side, -1)
    picture = truth_BHW[:, None].float().expand(-1, 3, -1, -1) - 0.5
    column = torch.tensor([-1.0, 0.0, 1.0]).repeat(3)
    tokens = [0.1 * torch.randn(count, 9, 24, generator=generator) for _ in range(2)]
    for one in tokens:
        one[:, :, 0] += column
    wanted_BHW = truth_BHW[:, ::2, ::2].long()
    losses = {}
    for share in (1e-6, 0.4):
        head = head_of(2, share=share)
        steps = torch.optim.AdamW(head.parameters(), lr=5e-3)
        for _ in range(60):
            steps.zero_grad()
            loss = nn.functional.cross_entropy(head(tokens, grid, picture)[LOGIT], wanted_BHW)
            loss.backward()
            steps.step()
        head.eval()
        answer_BHW = head(tokens, grid, picture)[LOGIT].argmax(1)
        losses[share] = float((answer_BHW != wanted_BHW).float().mean())
    assert losses[0.4] < losses[1e-6] / 2


def test_a_step_reaches_every_parameter(
    generator: torch.Generator, randomise: Callable[..., None]
) -> None:
    head, grid = head_of(share=0.3), Grid(3, 4)
    randomise(head, by=0.1)
    tokens, picture = given(generator, grid)
    head(tokens, grid, picture)[LOGIT].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert all(p.grad.abs().sum() > 0 for p in head.parameters() if p.ndim > 1)


def test_the_graph_says_the_same(
    generator: torch.Generator, randomise: Callable[..., None], tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    from moekit.export.graph import GraphInput, record_onnx

    head, grid = head_of().eval(), Grid(3, 4)
    randomise(head, by=0.1)

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, x_BLND: Tensor, picture: Tensor) -> tuple[Tensor]:
            return (self.head(list(x_BLND.unbind(1)), grid, picture)[LOGIT],)

    tokens, picture = given(generator, grid, count=3)
    stacked = torch.stack(tokens, 1)
    inputs = {
        "tokens": GraphInput(tuple(stacked.shape[1:]), 0),
        "picture": GraphInput(tuple(picture.shape[1:]), 0),
    }
    path = tmp_path / "head.onnx"
    record_onnx(Alone().eval(), ["logit"], inputs, path, whose="head")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = head(tokens, grid, picture)[LOGIT]
    (found,) = session.run(None, {"tokens": stacked.numpy(), "picture": picture.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_beyond_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share is"):
        head_of(share=share)


def test_it_needs_the_picture(generator: torch.Generator) -> None:
    tokens, _ = given(generator, Grid(3, 4))
    with pytest.raises(ValueError, match="reads the picture"):
        head_of()(tokens, Grid(3, 4))
