"""Passes in which tokens skip: what is computed, what keeps its value, and that nothing mixes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moekit import Features, Grid, MoEBackbone, RoutingTrace, TopKSoftmax
from moekit.moe import tokens as token_routing
from moekit.moe.specialists import SpecialistSet
from moekit.moe.token_gates import NamedTokenGate, TextureTokenGate
from moekit.moe.tokens import TokenChoice, TokenRouting
from moekit.testing import refused

PATCHES, TOKENS = 20, 21


@pytest.fixture(autouse=True)
def steps_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a threshold, images keep a multiple of two of these few patches."""
    monkeypatch.setattr(token_routing, "_STEPS", PATCHES // 2)


class Given:
    """A gate with given scores, whatever the image."""

    def __init__(self, scores_BP: Tensor) -> None:
        self.scores_BP = scores_BP

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        return self.scores_BP


class FromPicture:
    """A gate whose scores are an image's own first pixels."""

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        return picture[:, 0].flatten(1)[:, : grid.patches]


class MapExpert(nn.Module):
    """Gives each token the mean of the plane."""

    reads_map = True

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        return x_BND[:, -grid.patches :].mean(1, keepdim=True).expand_as(x_BND)


class TokenExpert(nn.Module):
    """Doubles a token."""

    reads_map = False

    def forward(self, x_TD: Tensor) -> Tensor:
        return 2 * x_TD


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(6, 3, 32, 40, generator=generator)


def ranked(images: int = 6) -> Given:
    """Patch 0 comes first."""
    return Given(-torch.arange(PATCHES).float().expand(images, PATCHES))


def routing(gate: object, **changes: object) -> TokenRouting:
    return TokenRouting(**{"gate": gate, "block": 1, "share": 0.5, **changes})


def branches(*experts: nn.Module) -> dict[int, SpecialistSet]:
    chosen = SpecialistSet(
        width=32, experts=experts, gate=TopKSoftmax(), top_k=len(experts) + 1, kit="made-up"
    )
    return {2: chosen}


def test_a_pass_that_keeps_all_is_the_pass_of_today_to_the_bit(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    bare: Features = tiny_backbone(images, keep=[0, 2])
    same: Features = tiny_backbone(images, keep=[0, 2], tokens=routing(TextureTokenGate(), share=1))
    assert same.tokens is None
    assert torch.equal(same.final_BND, bare.final_BND)
    all_kept: Features = tiny_backbone(
        images, keep=[0, 2], tokens=routing(ranked(), share=1, threshold=-100.0)
    )
    assert all_kept.tokens is not None
    assert all_kept.tokens.share == 1
    assert torch.equal(all_kept.final_BND, bare.final_BND)
    assert torch.equal(all_kept.blocks[2], bare.blocks[2])


def test_tokens_that_skip_keep_their_value_and_the_others_see_only_each_other(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    x_BND, grid = tiny_backbone.embed(images)
    before, _ = tiny_backbone.run_blocks(x_BND, grid, stop=1)
    features: Features = tiny_backbone(images, keep=[0, 1, 2], tokens=routing(ranked()))
    chosen = features.tokens
    assert chosen is not None
    kept = torch.arange(TOKENS) < 1 + PATCHES // 2
    assert torch.equal(chosen.kept_BN, kept.expand(6, TOKENS))
    assert torch.equal(features.blocks[0], before)
    for block in (1, 2):
        assert torch.equal(features.blocks[block][:, ~kept], before[:, ~kept])
    alone, found = tiny_backbone.run_blocks(before[:, kept], grid, start=1, keep=[1])
    assert torch.equal(features.blocks[2][:, kept], alone)
    assert torch.equal(features.blocks[1][:, kept], found[1])
    assert torch.equal(features.final_BND[:, kept], tiny_backbone.stem.norm(alone))


@pytest.mark.parametrize("threshold", [None, 0.7])
def test_an_image_does_not_depend_on_its_neighbours(
    threshold: float | None, tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    how = routing(FromPicture(), share=0.8, threshold=threshold)
    together: Features = tiny_backbone(images, tokens=how)
    for row in range(len(images)):
        alone: Features = tiny_backbone(images[row : row + 1], tokens=how)
        assert together.tokens is not None
        assert alone.tokens is not None
        assert torch.equal(alone.tokens.kept_BN[0], together.tokens.kept_BN[row])
        torch.testing.assert_close(alone.final_BND[0], together.final_BND[row])


def test_a_threshold_keeps_as_many_as_reach_it_rounded_up_and_no_more_than_the_share(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    scores_BP = torch.zeros(6, PATCHES)
    for row, count in enumerate((0, 1, 2, 3, 11, 20)):
        scores_BP[row, :count] = 1
    x_BND, grid = tiny_backbone.embed(images)
    how = routing(Given(scores_BP), share=0.6, threshold=0.5)
    chosen: TokenChoice = how.choose(x_BND, grid, images)
    assert (chosen.kept_BN.sum(1) - 1).tolist() == [0, 2, 2, 4, 12, 12]
    assert sorted(len(group.row_R) for group in chosen.groups) == [1, 1, 2, 2]
    assert chosen.kept_BN[:, 0].all()


def merged(x_BND: Tensor, kept: list[int], windows: list[list[int]]) -> Tensor:
    """The class token, kept patches, and the mean of each window; patches count from 0."""
    parts = [x_BND[:, :1], x_BND[:, [1 + one for one in kept]]]
    means = [x_BND[:, [1 + one for one in window]].mean(1, keepdim=True) for window in windows]
    return torch.cat([*parts, *means], dim=1)


KEPT = [0, 1, 5, 6]  # the first window of the grid of 4 x 5
WINDOWS = [[2, 3, 7, 8], [4, 9], [10, 11, 15, 16], [12, 13, 17, 18], [14, 19]]


def test_windows_are_computed_as_one_token_and_their_patches_change_as_it_does(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    how = routing(ranked(), share=1 / 6, window=2)
    features: Features = tiny_backbone(images, keep=[0, 1, 2], tokens=how)
    assert features.tokens is not None
    assert features.tokens.share == pytest.approx((1 + 4 + 5) / TOKENS)
    before = features.blocks[0]
    given = merged(before, KEPT, WINDOWS)
    _, grid = tiny_backbone.embed(images)
    expected, found = tiny_backbone.run_blocks(given, grid, start=1, keep=[1])
    for block, after in ((1, found[1]), (2, expected)):
        got = features.blocks[block]
        torch.testing.assert_close(merged(got, KEPT, WINDOWS), after)
        change = got - before
        for number, window in enumerate(WINDOWS):
            for patch in window:
                torch.testing.assert_close(change[:, 1 + patch], (after - given)[:, 5 + number])


@pytest.mark.parametrize("threshold", [None, 0.7])
def test_with_windows_too_an_image_does_not_depend_on_its_neighbours(
    threshold: float | None, tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    how = routing(FromPicture(), share=0.7, threshold=threshold, window=2)
    together: Features = tiny_backbone(images, tokens=how)
    for row in range(len(images)):
        alone: Features = tiny_backbone(images[row : row + 1], tokens=how)
        torch.testing.assert_close(alone.final_BND[0], together.final_BND[row])


def test_a_pass_that_keeps_all_windows_is_the_dense_one(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    how = routing(ranked(), share=1, threshold=-100.0, window=2)
    bare: Features = tiny_backbone(images)
    assert torch.equal(tiny_backbone(images, tokens=how).final_BND, bare.final_BND)


def test_experts_that_read_planes_see_each_patch_of_a_window_as_the_window(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    planes = []

    class Watching(MapExpert):
        def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
            planes.append(x_BND)
            return super().forward(x_BND, grid)

    how = routing(ranked(), share=1 / 6, window=2)
    bare: Features = tiny_backbone(images, tokens=how, keep=[2])
    features: Features = tiny_backbone(images, branches=branches(Watching()), tokens=how, keep=[2])
    (plane_BND,) = planes
    for window in WINDOWS:
        of_window = plane_BND[:, [1 + patch for patch in window]]
        assert torch.equal(of_window, of_window[:, :1].expand_as(of_window))
    change = features.blocks[2] - bare.blocks[2]
    assert (change.abs().amax(2) > 0).all()


def test_frames_of_a_stack_keep_equally_many(tiny_backbone: MoEBackbone, images: Tensor) -> None:
    scores_BP = torch.zeros(6, PATCHES)
    scores_BP[1, :9] = scores_BP[4, :3] = 1
    how = routing(Given(scores_BP), share=1, threshold=0.5)
    features: Features = tiny_backbone(images.unflatten(0, (2, 3)), tokens=how)
    assert features.tokens is not None
    assert (features.tokens.kept_BN.sum(1) - 1).tolist() == [10, 10, 10, 4, 4, 4]


def test_token_experts_run_on_kept_tokens_only(tiny_backbone: MoEBackbone, images: Tensor) -> None:
    seen = []

    class Counting(TokenExpert):
        def forward(self, x_TD: Tensor) -> Tensor:
            seen.append(len(x_TD))
            return super().forward(x_TD)

    own = branches(Counting())
    features: Features = tiny_backbone(images, branches=own, tokens=routing(ranked()))
    assert seen == [6 * (1 + PATCHES // 2)]
    x_BND, grid = tiny_backbone.embed(images)
    before, _ = tiny_backbone.run_blocks(x_BND, grid, stop=1)
    kept = torch.arange(TOKENS) < 1 + PATCHES // 2
    alone, _ = tiny_backbone.run_blocks(before[:, kept], grid, start=1, branches=own)
    assert torch.equal(features.final_BND[:, kept], tiny_backbone.stem.norm(alone))


def test_experts_that_read_planes_get_whole_ones(
    tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    planes = []

    class Watching(MapExpert):
        def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
            planes.append((x_BND, grid))
            return super().forward(x_BND, grid)

    features: Features = tiny_backbone(
        images, branches=branches(Watching()), tokens=routing(ranked()), keep=[1]
    )
    ((plane_BND, grid),) = planes
    assert plane_BND.shape == (6, TOKENS, 32)
    assert grid == (4, 5)
    skipped = torch.arange(TOKENS) > PATCHES // 2
    held = tiny_backbone.blocks[2].norm2(features.blocks[1])
    torch.testing.assert_close(plane_BND[:, skipped], held[:, skipped])


def test_the_trace_counts_a_window_once(tiny_backbone: MoEBackbone, images: Tensor) -> None:
    trace = RoutingTrace()
    how = routing(ranked(), share=1 / 6, window=2)
    tiny_backbone(images, branches=branches(TokenExpert()), tokens=how, trace=trace)
    for one in trace.blocks[1:3]:
        assert (one.counts_BE.sum(1) == 16 * 10).all()
        weight_BNE = one.routing.weight_TE().view(6, TOKENS, -1)
        seen = (weight_BNE[0] != 0).any(1).nonzero()[:, 0].tolist()
        assert seen == sorted([0, *(1 + one for one in KEPT), *(1 + one[0] for one in WINDOWS)])


@pytest.mark.parametrize("threshold", [None, 0.2])
def test_the_trace_counts_what_was_computed(
    threshold: float | None, tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    tiny_backbone.top_k = 4
    trace = RoutingTrace()
    how = routing(FromPicture(), threshold=threshold)
    features: Features = tiny_backbone(
        images, branches=branches(TokenExpert(), MapExpert()), tokens=how, trace=trace
    )
    assert features.tokens is not None
    kept_B = features.tokens.kept_BN.sum(1)
    assert [(one.block, one.kit) for one in trace.blocks] == [
        *((block, None) for block in range(3)),
        (2, "made-up"),
    ]
    assert (trace.blocks[0].counts_BE.sum(1) == 4 * TOKENS).all()
    for one in trace.blocks[1:3]:
        assert torch.equal(one.counts_BE.sum(1), 4 * kept_B)
        weight_BNE = one.routing.weight_TE().view(6, TOKENS, -1)
        assert torch.equal((weight_BNE != 0).any(2), features.tokens.kept_BN)
    assert trace.blocks[3].counts_BE.sum() == 3 * 6 * TOKENS, "planes are whole"


def test_what_cannot_be_is_refused(tiny_backbone: MoEBackbone, images: Tensor) -> None:
    for wrong in ({"share": 0.0}, {"share": 1.5}, {"block": -1}, {"window": 1}):
        with refused("usage/out-of-range"):
            routing(TextureTokenGate(), **wrong)
    with refused("usage/out-of-range"):
        tiny_backbone(images, tokens=routing(TextureTokenGate(), block=3))


@pytest.mark.parametrize(
    "scores", [torch.zeros(6, 3), torch.full((6, PATCHES), float("nan")), None]
)
def test_a_gate_that_gives_something_else_is_named(
    scores: Tensor, tiny_backbone: MoEBackbone, images: Tensor
) -> None:
    with refused("plugin/bad-gate", match="Given"):
        tiny_backbone(images, tokens=routing(Given(scores)))


def test_a_gate_that_fails_is_named(tiny_backbone: MoEBackbone, images: Tensor) -> None:
    def broken(patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        raise ValueError("no score")

    named = NamedTokenGate(gate=broken, name="mine/first", version="1")
    with refused("plugin/run-failed", match="no score") as caught:
        tiny_backbone(images, tokens=routing(named))
    assert caught.value.whose == "token gate mine/first"
