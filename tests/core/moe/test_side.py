"""The specialists of several kits in one block: grouped products, and bits that no other moves."""

import pytest
import torch
from torch import nn

import moekit
from moekit import Grid, RoutingTrace
from moekit.moe import side
from moekit.moe.dispatch import grouped_linear
from moekit.moe.side import form_of, run_sets
from moekit.moe.specialists import BottleneckExpert, SpecialistSet

GRID = Grid(3, 5)
TOKENS = 1 + GRID.patches


class Bottleneck(nn.Module):
    """A bottleneck with neighbours, whose maps can be grouped."""

    reads_map = True

    def __init__(self, width, bottleneck, *, bias=True):
        super().__init__()
        self.down = nn.Linear(width, bottleneck, bias=bias)
        self.local = nn.Conv2d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
        self.up = nn.Linear(bottleneck, width, bias=bias)

    def forward(self, x_BND, grid):
        return self.up(self.between(self.down(x_BND), grid))

    def between(self, hidden_BNR, grid):
        prefix = hidden_BNR.shape[1] - grid.patches
        local = self.local(grid.plane(hidden_BNR[:, prefix:])).flatten(2).transpose(1, 2)
        return nn.functional.gelu(torch.cat([hidden_BNR[:, :prefix], local], dim=1))


class Tokenwise(nn.Module):
    """A bottleneck token by token, whose maps can be grouped."""

    reads_map = False

    def __init__(self, width, bottleneck):
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)

    def forward(self, x_TD):
        return self.up(self.between(self.down(x_TD)))

    def between(self, hidden_TR):
        return nn.functional.gelu(hidden_TR)


class Whole(nn.Module):
    """An expert that cannot be grouped."""

    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x_TD):
        return self.linear(x_TD).tanh()


class Broken(Bottleneck):
    def between(self, hidden_BNR, grid):
        raise RuntimeError("no such luck")


class Narrow(Bottleneck):
    def between(self, hidden_BNR, grid):
        return hidden_BNR[..., :1]


def made(*experts, seed, top_k=None):
    chosen = SpecialistSet(
        width=experts[0].up.out_features if hasattr(experts[0], "up") else 24,
        experts=experts,
        gate=moekit.TopKSoftmax(),
        top_k=top_k or len(experts) + 1,
        kit=f"kit {seed}",
    )
    numbers = torch.Generator().manual_seed(seed)
    for value in chosen.parameters():
        nn.init.normal_(value, std=0.2, generator=numbers)
    return chosen.eval().requires_grad_(False)


def tokens(kits, width=24, images=2):
    numbers = torch.Generator().manual_seed(9)
    return torch.randn(kits, images, TOKENS, width, generator=numbers)


def ran(sets, x_GBND, trace=None):
    output, failed = run_sets(sets, x_GBND, GRID, trace=trace, block=3)
    assert not failed
    return output


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_set_gives_in_the_side_stream_what_it_gives_in_the_trunk(top_k):
    chosen = made(Bottleneck(24, 6), Tokenwise(24, 5), seed=1, top_k=top_k)
    x_GBND = tokens(1)
    torch.testing.assert_close(ran([chosen], x_GBND)[0], chosen(x_GBND[0], GRID))


@pytest.mark.parametrize(
    "experts",
    [
        (Bottleneck(24, 6, bias=False),),
        (Whole(24), Bottleneck(24, 6)),
        (Whole(24), Whole(24)),
    ],
    ids=["no biases", "one that cannot be grouped", "none that can be grouped"],
)
def test_any_experts_may_act_there(experts):
    chosen = made(*experts, seed=2)
    x_GBND = tokens(1)
    torch.testing.assert_close(ran([chosen], x_GBND)[0], chosen(x_GBND[0], GRID))
    assert (form_of(chosen) is None) == any(isinstance(one, Whole) for one in experts)


@pytest.mark.parametrize("bottleneck", [6, 8, 7])
@pytest.mark.parametrize("width", [24, 20, 22])
def test_each_kit_gets_the_same_bits_in_any_company(width, bottleneck, same_bits):
    sets = [made(Bottleneck(width, bottleneck), Bottleneck(width, 6), seed=n) for n in range(5)]
    x_GBND = tokens(5, width)
    together = ran(sets, x_GBND)
    for number, chosen in enumerate(sets):
        assert same_bits(together[number], ran([chosen], x_GBND[number, None])[0])
    backwards = ran(sets[::-1], x_GBND.flip(0)).flip(0)
    assert same_bits(backwards, together)


def test_the_maps_of_all_kits_are_two_grouped_products(monkeypatch):
    asked = []

    def counted(x_GTD, weights):
        asked.append((x_GTD.shape[0], len(weights)))
        return grouped_linear(x_GTD, weights)

    monkeypatch.setattr(side, "grouped_linear", counted)
    ran([made(Bottleneck(24, 8), Bottleneck(24, 8), seed=n) for n in range(5)], tokens(5))
    assert asked == [(5, 5), (5, 5)]


def test_a_grouped_product_is_a_product_for_each_group():
    x_GTD = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(0))
    for rows in (8, 5):  # grouped, and one after the other since rows of 5 are not aligned
        weights = list(torch.randn(3, rows, 16, generator=torch.Generator().manual_seed(1)))
        expected = torch.stack([x @ w.T for x, w in zip(x_GTD, weights, strict=True)])
        torch.testing.assert_close(grouped_linear(x_GTD, weights), expected)


def test_gradients_are_those_of_the_trunk():
    chosen = made(Bottleneck(24, 8), Tokenwise(24, 8), seed=3).requires_grad_(True)
    x_GBND = tokens(1)
    found = []
    for output in (ran([chosen], x_GBND)[0], chosen(x_GBND[0], GRID)):
        chosen.zero_grad()
        output.square().sum().backward()
        found.append([value.grad for value in chosen.parameters()])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("expert", "code"), [(Broken, "plugin/run-failed"), (Narrow, "plugin/bad-expert")]
)
def test_a_kit_that_fails_takes_no_other_with_it(expert, code, same_bits):
    good = made(Bottleneck(24, 8), seed=4)
    sets = [made(expert(24, 8), seed=5), good]
    x_GBND = tokens(2)
    output, failed = run_sets(sets, x_GBND, GRID, trace=None, block=0)
    assert failed.keys() == {0}
    assert failed[0].code == code
    assert failed[0].whose == f"expert {expert.__name__}"
    assert same_bits(output[1], ran([good], x_GBND[1, None])[0])


def test_a_trace_files_the_routing_of_each_kit():
    sets = [made(Bottleneck(24, 8), seed=n) for n in range(2)]
    trace = RoutingTrace()
    ran(sets, tokens(2), trace)
    assert [(one.kit, one.block) for one in trace.blocks] == [("kit 0", 3), ("kit 1", 3)]


def test_the_kits_own_experts_can_be_grouped():
    registry = moekit.Registry()
    named = {name: registry.expert(name) for name in registry.names("experts")}
    if not named:
        pytest.skip("no plugin with experts is installed")
    grouped = {"defect", "lesion", "axial", "context", "object_shape"} & {
        name.rpartition("/")[2] for name in named
    }
    for name, spec in named.items():
        if name.rpartition("/")[2] in grouped:
            assert isinstance(spec.build(24), BottleneckExpert), name
