"""Kits in the side stream: the laws of isolation, and one pass that shares every block."""

import collections
import dataclasses

import pytest
import torch
from torch import nn

import moekit
from moekit import Frame, RoutingTrace, Runtime
from moekit.data.stream import Preprocess
from moekit.runtime import side
from moekit.runtime.kit import KitModules
from moekit.runtime.plan import RequestPlan, plan_passes
from moekit.runtime.predictor import Predictor
from moekit.runtime.together import compute_together
from moekit.testing.reference import SIDE, small_backbone
from tests.core.runtime.test_together import Spoiler, Writer

SQUARE = Frame(height=SIDE, width=SIDE)


class Narrow(nn.Module):
    """A bottleneck whose maps can be grouped; zero at the start."""

    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Linear(width, 8), nn.Linear(8, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_TD):
        return self.up(self.between(self.down(x_TD)))

    def between(self, hidden_TR):
        return nn.functional.gelu(hidden_TR)


class Broken(Narrow):
    def between(self, hidden_TR):
        raise RuntimeError("no such luck")


class Plugin:
    @moekit.hookimpl
    def moekit_experts(self):
        built = {"narrow": Narrow, "broken": Broken, "writer": Writer}
        return [
            moekit.ExpertSpec(name=name, build=build, summary="-", source="-")
            for name, build in built.items()
        ]


@pytest.fixture
def made(registry, make_kit, randomise):
    """Makes a predictor on 12 blocks whose kit has random weights."""
    registry.register(Plugin(), distribution="beside")
    backbone = small_backbone()

    def make(*blocks, read=(5, 9), experts=("narrow", "narrow"), seed=1, **how):
        head = how.pop("head", moekit.PooledHead)
        placement = how.pop("placement", "side")
        slots = tuple(
            moekit.SpecialistSlot(block=block, experts=experts, gate="best", top_k=len(experts) + 1)
            for block in blocks
        )
        spec = make_kit("one", slots=slots, head_blocks=read, build_head=head, placement=placement)
        models = []
        for number, one in enumerate((spec, spec.bare)):
            models.append(KitModules(spec=one, registry=registry, backbone=backbone))
            randomise(models[-1], seed=seed + 100 * number, by=0.05)
        return Predictor(
            backbone=backbone,
            kit=models[0],
            baseline=models[1] if how.pop("with_baseline", False) else None,
            task=registry.task("score"),
            arithmetic="fp32",
            **how,
        )

    return make


@pytest.fixture
def images():
    return torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def kits(made):
    """Kits that differ in all that may differ."""
    return {
        "one": made(5, 7, 9),
        "another": made(5, 7, 9, seed=2),
        "a third": made(5, 7, 9, seed=3),
        "other blocks": made(2, 11, seed=4, read=(3, 11)),
        "behind the head": made(3, 8, seed=5, read=(4,)),
        "other experts": made(5, 9, seed=6, experts=("narrow", "map")),
        "views": made(5, 7, 9, seed=7, views=(0, 2)),
        "with baseline": made(5, 7, 9, seed=8, with_baseline=True),
        "few": made(5, 7, 9, seed=9, top_k=4),
        "in the trunk": made(8, 10, read=(5, 11), seed=10, placement="trunk"),
        "frozen": made(read=(3, 7), seed=11),
    }


def answers(computed):
    return [list(one.values()) for one in computed.outputs]


def test_each_kit_answers_bitwise_as_it_does_alone(kits, images):
    failed = {}
    together = compute_together(kits, images, failed)
    assert not failed
    for name, kit in kits.items():
        alone = kit(images)
        for ours, own in zip(answers(together[name]), answers(alone), strict=True):
            assert all(torch.equal(one, other) for one, other in zip(ours, own, strict=True)), name
    logits = {tuple(one.kit["logit_B"].tolist()) for one in together.values()}
    assert len(logits) == len(kits), "there is nothing to tell them apart by"


def test_memory_bounds_how_many_kits_go_together_and_moves_no_bit(kits, images, monkeypatch):
    before = compute_together(kits, images, {})
    monkeypatch.setattr(side, "_MOST_BYTES", 1)
    after = compute_together(kits, images, {})
    for name in kits:
        assert torch.equal(before[name].kit["logit_B"], after[name].kit["logit_B"]), name


def test_all_kits_share_every_block(made, images):
    kits = {str(seed): made(5, 7, 9, seed=seed) for seed in range(4)}
    kits["deeper"] = made(2, 11, seed=9, read=(3, 11))
    counts = collections.Counter()
    hooks = [
        block.attn.register_forward_hook(lambda *_, index=index: counts.update([index]))
        for index, block in enumerate(small_backbone().blocks)
    ]
    compute_together(kits, images, {})
    for hook in hooks:
        hook.remove()
    assert counts == dict.fromkeys(range(12), 1)


def test_a_plan_counts_shared_blocks_and_the_side_stream(made):
    reading = Preprocess(frame=SQUARE, mean=(0.5,) * 3, std=(0.5,) * 3)
    kits = {str(seed): made(5, 7, 9, seed=seed) for seed in range(8)}
    (one,) = plan_passes(kits, reading)
    assert one.blocks == 10
    assert {(model.blocks, model.side_blocks) for model in one.models} == {(0, 3)}
    alone = {name: plan_passes({name: kit}, reading)[0].total for name, kit in kits.items()}
    frozen = plan_passes({"frozen": made(read=(5, 9))}, reading)[0]
    assert one.models[0].operations > frozen.models[0].operations, "its experts are counted"
    table = str(RequestPlan(passes=(one,), alone=alone))
    assert "0, 3 side" in table


def test_nothing_of_a_kit_changes_what_others_see(made, images):
    good = {"first": made(5, 7, 9), "last": made(5, 7, 9, seed=2), "frozen": made(seed=3)}
    hostile = {
        "throws": made(5, 7, 9, seed=4, experts=("broken", "narrow")),
        "writes": made(5, 7, 9, seed=5, experts=("writer", "narrow")),
        "spoils": made(5, 7, 9, seed=6, head=Spoiler),
    }
    failed = {}
    together = compute_together({**hostile, **good}, images, failed)
    assert failed.keys() == {"throws"}
    assert "no such luck" in failed["throws"].what
    for name, kit in good.items():
        assert torch.equal(together[name].kit["logit_B"], kit(images).kit["logit_B"]), name
    with pytest.raises(moekit.PluginError, match="no such luck"):
        hostile["throws"](images)


@pytest.fixture
def runtime(made, registry):
    return Runtime(small_backbone(), registry=registry)


@pytest.fixture
def beside(make_kit):
    slot = moekit.SpecialistSlot(block=5, experts=("narrow",), gate="best", top_k=2)
    slots = (slot, dataclasses.replace(slot, block=9, experts=("map", "narrow"), top_k=1))
    return make_kit("beside", slots=slots, head_blocks=(2, 9), placement="side")


def test_a_fresh_kit_changes_no_bit_of_any_feature(runtime, beside, images, same_bits):
    bare = runtime.features(images).final_BND
    modules = runtime.attach(beside)
    assert same_bits(runtime.features(images, kit="beside").final_BND, bare)
    frozen = dataclasses.replace(beside, name="frozen", slots=())
    runtime.attach(frozen).head.load_state_dict(modules.head.state_dict())
    ours, theirs = (runtime.predict(images, kit=name) for name in ("beside", "frozen"))
    assert torch.equal(ours["logit_B"], theirs["logit_B"])


def test_a_trained_kit_changes_its_own_features_only(runtime, beside, images, randomise, same_bits):
    bare = runtime.features(images).final_BND
    randomise(runtime.attach("first"), by=0.05)
    other = runtime.predict(images, kit="first")["logit_B"]
    modules = runtime.attach(beside)
    randomise(modules, by=0.1)
    assert not torch.equal(runtime.features(images, kit="beside").final_BND, bare)
    runtime.predict(images, kit="beside")
    assert same_bits(runtime.features(images).final_BND, bare)
    assert torch.equal(runtime.predict(images, kit="first")["logit_B"], other)


def test_an_image_gets_the_same_result_in_any_batch(runtime, beside, images, randomise):
    randomise(runtime.attach(beside), by=0.05)
    whole = runtime.predict(images, kit="beside")["logit_B"]
    alone = [runtime.predict(one[None], kit="beside")["logit_B"] for one in images]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=1e-5, atol=1e-6)


def test_a_trace_files_the_routing_of_the_kit(runtime, beside, images):
    runtime.attach(beside)
    for call in (runtime.predict, runtime.features):
        trace = RoutingTrace()
        call(images[:1], kit="beside", trace=trace)
        filed = [(one.kit, one.block) for one in trace.blocks if one.kit is not None]
        assert filed == [("beside", 5), ("beside", 9)]


def test_training_needs_no_block_of_the_trunk(made, images):
    kit, backbone = made(5, 7, 9).kit, small_backbone()
    assert (kit.prefix_end, kit.prefix_keep, kit.own_blocks) == (10, [5, 7], 0)
    x_BND, grid = backbone.embed(images)
    x_BND, kept = backbone.run_blocks(x_BND, grid, stop=10, keep=kit.prefix_keep)
    ran = []
    hooks = [block.register_forward_hook(lambda *_: ran.append(1)) for block in backbone.blocks]
    output = kit(backbone, x_BND, kept, grid)["logit_B"]
    output.sum().backward()
    for hook in hooks:
        hook.remove()
    assert not ran
    assert all(value.grad is not None for value in kit.parameters())
