"""Each check of experts passes a good one and fails one that is broken in just that way."""

import pytest
import torch
from torch import nn

from moekit import ExpertSpec
from moekit.testing import ConformanceError, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS


class Good(nn.Module):
    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Linear(width, 8), nn.Linear(8, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        return self.up(nn.functional.gelu(self.down(x)))


class Nonzero(Good):
    def __init__(self, width):
        super().__init__(width)
        nn.init.ones_(self.up.bias)


class Double(Good):
    def forward(self, x):
        return super().forward(x).double()


class NeedsTokens(Good):
    def forward(self, x):
        return super().forward(x) + 0 * x.max()


class Mixes(Good):
    def forward(self, x):
        return super().forward(x) + self.up.bias.abs().sum() * x.mean()


class FixedGrid(nn.Module):
    reads_map = True

    def __init__(self, width):
        super().__init__()
        self.mix = nn.Linear(17, 17)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x, grid):
        return self.mix(x.transpose(1, 2)).transpose(1, 2)


class MixesStacks(nn.Module):
    reads_map = True

    def __init__(self, width):
        super().__init__()
        self.up = nn.Linear(width, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x, grid):
        if grid.frames == 1:
            return self.up(x)
        before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])  # of the stack before, too
        return self.up(x + before)


class AwakeOnStacks(MixesStacks):
    def forward(self, x, grid):
        return self.up(x) + (grid.frames > 1) * x


class OneForEachStack(MixesStacks):
    def forward(self, x, grid):
        return self.up(x[:: grid.frames])


class Random(Good):
    def forward(self, x):
        return super().forward(x) * torch.rand(())


class Explodes(Good):
    def forward(self, x):
        return super().forward(x) * x.exp()


class InPlace(Good):
    def forward(self, x):
        with torch.no_grad():
            x.mul_(2)
        return super().forward(x)


class Idle(Good):
    def __init__(self, width):
        super().__init__(width)
        self.idle = nn.Parameter(torch.zeros(3))


class Counts(Good):
    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Forgets(Good):
    made = 0

    def __init__(self, width):
        super().__init__(width)
        Forgets.made += 1
        self.offset = float(Forgets.made)

    def forward(self, x):
        return super().forward(x + self.offset)


SHARED = nn.Linear(8, 32)
nn.init.zeros_(SHARED.weight)
nn.init.zeros_(SHARED.bias)


class Shares(Good):
    def __init__(self, width):
        super().__init__(width)
        self.up = SHARED


class Autocasts(Good):
    def forward(self, x):
        rows = torch.arange(len(x))
        return torch.zeros_like(x).index_add(0, rows, super().forward(x))


class Split(Good):
    """A good expert whose maps can be grouped."""

    def forward(self, x):
        return self.up(self.between(self.down(x)))

    def between(self, hidden):
        return nn.functional.gelu(hidden)


class Unlike(Split):
    def forward(self, x):
        return 2 * super().forward(x)


BROKEN = {
    "is-described": Good,
    "starts-at-zero": Nonzero,
    "keeps-shape-and-type": Double,
    "takes-no-tokens": NeedsTokens,
    "keeps-images-apart": Mixes,
    "takes-odd-sizes": FixedGrid,
    "takes-stacks": OneForEachStack,
    "keeps-stacks-apart": MixesStacks,
    "repeats-itself": Random,
    "stays-finite": Explodes,
    "leaves-its-input-alone": InPlace,
    "learns-everywhere": Idle,
    "changes-nothing-in-eval": Counts,
    "survives-safetensors": Forgets,
    "shares-nothing": Shares,
    "runs-in-mixed-precision": Autocasts,
    "is-the-same-in-the-side-stream": Unlike,
}


def spec(build, *, summary="a specimen"):
    return ExpertSpec(name="specimen", build=build, summary=summary, source="the tests")


@pytest.mark.parametrize("name", CHECKS["expert"])
def test_a_good_expert_passes(name, run_check):
    build = Split if name == "is-the-same-in-the-side-stream" else Good
    run_check("expert", name, spec(build))


@pytest.mark.parametrize("name", CHECKS["expert"])
def test_a_broken_expert_fails_the_check_that_it_breaks(name, run_check):
    summary = " " if name == "is-described" else "a specimen"
    with pytest.raises(ConformanceError):
        run_check("expert", name, spec(BROKEN[name], summary=summary))


def test_an_expert_that_is_awake_on_stacks_alone_does_not_start_at_zero(run_check):
    with pytest.raises(ConformanceError, match="begin its last layer with zeros"):
        run_check("expert", "starts-at-zero", spec(AwakeOnStacks))


@pytest.mark.parametrize(
    "build", [lambda width: "no module", lambda width: nn.Linear(width, width)]
)
def test_what_is_no_expert_is_refused(build, run_check):
    with pytest.raises(ConformanceError, match=r"torch\.nn\.Module|reads_map"):
        run_check("expert", "is-described", spec(build))
