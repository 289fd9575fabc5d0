"""Each check of kits passes a good one and fails one that is broken in just that way."""

import dataclasses
import secrets

import pytest
import torch
from PIL import Image
from torch import nn

import moekit
from moekit.testing import ConformanceError, NotApplicable, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS
from moekit.testing.reference import REFERENCE_KIT, small_backbone


class Head(nn.Module):
    def __init__(self, site):
        super().__init__()
        self.linear = nn.Linear(site.width * site.blocks, 1)

    def forward(self, tokens, grid):
        pooled = torch.cat([x.float().mean(1) for x in tokens], dim=1)
        pooled = pooled.unflatten(0, (-1, grid.frames)).mean(1)
        return {"logit_B": self.linear(pooled)[:, 0]}


class OutOfRange(Head):
    def forward(self, tokens, grid):
        logit = super().forward(tokens, grid)["logit_B"]
        return {"logit_B": logit, "map_BHW": 2 + torch.zeros(len(logit), *grid)}


class SeesFramesAlone(Head):
    def forward(self, tokens, grid):
        return super().forward(tokens, moekit.Grid(*grid))


class Mixes(Head):
    def forward(self, tokens, grid):
        logit = super().forward(tokens, grid)["logit_B"]
        return {"logit_B": logit - logit.mean()}


class Idle(Head):
    def __init__(self, site):
        super().__init__(site)
        self.idle = nn.Parameter(torch.zeros(1))


class Random(Head):
    def forward(self, tokens, grid):
        logit = super().forward(tokens, grid)["logit_B"]
        # A source of randomness that no seed reaches.
        return {"logit_B": logit + secrets.randbelow(1000) / 1000}


def meddles(width, blocks):
    with torch.no_grad():
        small_backbone().blocks[0].attn.qkv.weight.add_(1)
    return Head(width, blocks)


class Nothing(nn.Module):
    def __init__(self, site):
        super().__init__()

    def forward(self, tokens, grid):
        return {"logit_B": tokens[0].mean((1, 2))}


class AwakeExpert(nn.Module):
    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return self.linear(x)


class Hooks:
    @moekit.hookimpl
    def moekit_experts(self):
        return [moekit.ExpertSpec(name="awake", build=AwakeExpert, summary="-", source="-")]


class Volumes:
    """Reads two slices of whatever it is given."""

    def __init__(self, names=("0", "1"), mode="RGB"):
        self.names, self.mode = names, mode

    def items(self, paths):
        for path in paths:
            for name in self.names:
                yield f"{path.name}/{name}", [Image.new(self.mode, (4, 4))]

    def gather(self, rows, out):
        return {}


def volume(folder):
    return {"volume": folder / "volume"}


BROKEN = {
    "reads-items": {"reader": Volumes(names=("0", "0"))},
    "is-described": {"outcome_names": {"missed": "miss"}},
    "names-what-there-is": {"metrics": ("nonesuch",)},
    "fits-the-backbone": {"head_blocks": (40,)},
    "starts-safely": {},
    "disturbs-nobody": {"build_head": meddles},
    "gives-scores-and-maps": {"build_head": OutOfRange},
    "keeps-images-apart": {"build_head": Mixes},
    "scores-stacks": {"build_head": SeesFramesAlone},
    "learns-everywhere": {"build_head": Idle},
    "runs-from-end-to-end": {"metrics": ("nonesuch",)},
    "repeats-itself": {"build_head": Random},
}
GOOD = dataclasses.replace(
    REFERENCE_KIT,
    name="specimen",
    build_head=Head,
    stack_experts=REFERENCE_KIT.slots[0].experts,
    reader=Volumes(),
    demo_inputs=volume,
)


@pytest.fixture
def broken(monkeypatch):
    def make(name):
        if name == "starts-safely":
            slot = dataclasses.replace(GOOD.slots[0], experts=("specimens/awake",))
            register = moekit.Registry.__init__

            def with_awake(self, *arguments, **options):
                register(self, *arguments, **options)
                self.register(Hooks(), distribution="specimens")

            monkeypatch.setattr(moekit.Registry, "__init__", with_awake)
            return dataclasses.replace(GOOD, slots=(slot,))
        return dataclasses.replace(GOOD, **BROKEN[name])

    return make


@pytest.mark.parametrize("name", CHECKS["kit"])
def test_a_good_kit_passes(name, run_check):
    run_check("kit", name, GOOD)


@pytest.mark.parametrize("name", CHECKS["kit"])
def test_a_broken_kit_fails_the_check_that_it_breaks(name, run_check, broken):
    with pytest.raises(ConformanceError):
        run_check("kit", name, broken(name))


def test_a_kit_that_has_nothing_to_do_with_stacks_is_not_asked_about_them(run_check):
    with pytest.raises(NotApplicable, match="no stacks"):
        run_check("kit", "scores-stacks", dataclasses.replace(GOOD, stack_experts=()))


def test_a_reader_is_held_to_what_the_engine_needs(run_check):
    with pytest.raises(NotApplicable, match="no reader"):
        run_check("kit", "reads-items", dataclasses.replace(GOOD, reader=None))
    with pytest.raises(NotApplicable, match="demo_inputs"):
        run_check("kit", "reads-items", dataclasses.replace(GOOD, demo_inputs=None))
    gray = dataclasses.replace(GOOD, reader=Volumes(mode="L"))
    with pytest.raises(ConformanceError, match="not RGB"):
        run_check("kit", "reads-items", gray)
    both = dataclasses.replace(GOOD, predict=lambda job: {})
    with pytest.raises(ConformanceError, match="both a reader and a predict"):
        run_check("kit", "reads-items", both)


def test_a_kit_with_nothing_to_train_does_not_fit(run_check):
    empty = dataclasses.replace(GOOD, slots=(), build_head=Nothing)
    with pytest.raises(ConformanceError, match="nothing to train"):
        run_check("kit", "fits-the-backbone", empty)


def test_a_demonstration_with_a_field_that_no_recipe_has_is_a_fault(run_check):
    with pytest.raises(ConformanceError, match="nonesuch"):
        run_check(
            "kit", "names-what-there-is", dataclasses.replace(GOOD, demo_recipe={"nonesuch": 1})
        )
