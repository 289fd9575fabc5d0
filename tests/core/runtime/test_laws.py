"""The laws of the runtime, bit by bit, on the real weights: isolation, safe start, independence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from moekit import KitSpec, MoEBackbone, Registry, RoutingTrace, Runtime, SpecialistSlot
from moekit.runtime.kit import KitModules

MakeKit = Callable[..., KitSpec]
Randomise = Callable[..., None]
SameBits = Callable[[Tensor, Tensor], bool]

both_modes = pytest.mark.parametrize("top_k", [16, 4])


@pytest.fixture
def images(photos: Tensor) -> Tensor:
    """A part of three photographs in which no two scores lie within 3e-5 where one is left out."""
    return photos[1:, :, 14:126, 14:126]


@pytest.fixture
def runtime(backbone: MoEBackbone, registry: Registry) -> Runtime:
    return Runtime(backbone, registry=registry)


@pytest.fixture
def second(make_kit: MakeKit) -> KitSpec:
    """Specialists in the same blocks as the first kit's and in others, under another gate."""
    slots = (
        SpecialistSlot(block=4, experts=("map", "map"), gate="affine", top_k=3),
        SpecialistSlot(block=9, experts=("token", "token"), gate="affine", top_k=1),
        SpecialistSlot(block=11, experts=("token",), gate="best", top_k=1),
    )
    return make_kit("second", slots=slots)


def outputs(runtime: Runtime, images: Tensor, kit: str | None) -> list[Tensor]:
    """All that can be seen of the bare backbone, or of a kit."""
    if kit is None:
        return [runtime.features(images).final_BND]
    predicted = runtime.predict(images, kit=kit)
    score_B = predicted["logit_B"].float().sigmoid()
    assert ((score_B > 0) & (score_B < 1)).all(), "nothing to compare"
    return [
        runtime.features(images, kit=kit).final_BND,
        score_B,
        predicted["map_BHW"],
    ]


def train_a_step(modules: KitModules, backbone: MoEBackbone, images: Tensor) -> None:
    """One step of AdamW on everything that a kit trains."""
    modules.train()
    optimizer = torch.optim.AdamW(modules.parameters(), lr=0.1)
    with torch.no_grad():
        tokens, grid = backbone.embed(images)
        tokens, kept = backbone.run_blocks(
            tokens, grid, stop=modules.prefix_end, keep=modules.prefix_keep
        )
    output = modules(backbone, tokens, kept, grid)
    target = torch.tensor([0.0, 1.0, 0.0])
    nn.functional.binary_cross_entropy_with_logits(output["logit_B"], target).backward()
    optimizer.step()
    modules.eval()


@both_modes
def test_a_second_kit_changes_no_bit_of_the_first_or_of_the_bare_backbone(
    top_k: int,
    runtime: Runtime,
    images: Tensor,
    second: KitSpec,
    make_kit: MakeKit,
    randomise: Randomise,
    same_bits: SameBits,
) -> None:
    runtime.backbone.top_k = top_k
    alone = outputs(runtime, images, None)
    randomise(runtime.attach("first"), seed=1, by=0.05)
    first = outputs(runtime, images, "first")
    assert not same_bits(first[0], alone[0])

    def nothing_has_changed() -> bool:
        pairs = zip(
            [*alone, *first],
            [*outputs(runtime, images, None), *outputs(runtime, images, "first")],
            strict=True,
        )
        return all(same_bits(before, after) for before, after in pairs)

    modules = runtime.attach(second)
    assert nothing_has_changed(), "attached"
    randomise(modules, seed=2, by=0.05)
    runtime.predict(images, kit="second")
    assert nothing_has_changed(), "of other weights"
    train_a_step(modules, runtime.backbone, images)
    assert nothing_has_changed(), "trained"
    randomise(runtime.attach(make_kit("third")), seed=3, by=0.05)
    assert nothing_has_changed(), "joined by a third"
    runtime.detach("second")
    assert nothing_has_changed(), "detached"
    runtime.detach("third")
    runtime.attach(second)
    assert nothing_has_changed(), "attached again"


@pytest.fixture
def _two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("_two_threads")
def test_isolation_holds_with_several_threads(
    runtime: Runtime,
    images: Tensor,
    second: KitSpec,
    randomise: Randomise,
    same_bits: SameBits,
) -> None:
    images = images[:1]
    randomise(runtime.attach("first"), by=0.05)
    before = outputs(runtime, images, "first")
    randomise(runtime.attach(second), by=0.05)
    runtime.predict(images, kit="second")
    after = outputs(runtime, images, "first")
    assert all(same_bits(*pair) for pair in zip(before, after, strict=True))


@both_modes
def test_a_fresh_kit_changes_no_bit_of_any_feature(
    top_k: int, runtime: Runtime, images: Tensor, second: KitSpec, same_bits: SameBits
) -> None:
    runtime.backbone.top_k = top_k
    bare = runtime.features(images).final_BND
    runtime.attach("first")
    runtime.attach(second)
    for kit in ("first", "second"):
        assert same_bits(runtime.features(images, kit=kit).final_BND, bare)


@both_modes
@pytest.mark.parametrize("kit", [None, "first", "second"])
def test_an_image_gets_the_same_result_in_any_batch(
    kit: str | None,
    top_k: int,
    runtime: Runtime,
    images: Tensor,
    second: KitSpec,
    randomise: Randomise,
) -> None:
    runtime.backbone.top_k = top_k
    for number, attached in enumerate((runtime.attach("first"), runtime.attach(second))):
        randomise(attached, seed=number + 3, by=0.05)  # seeds that leave scores 1e-5 apart
    together = outputs(runtime, images, kit)
    backwards = outputs(runtime, images.flip(0).repeat(2, 1, 1, 1), kit)
    alone = [outputs(runtime, images[row, None], kit) for row in range(3)]
    for index, whole in enumerate(together):
        single = torch.cat([one[index] for one in alone])
        for other in (backwards[index][:3].flip(0), single):
            assert float((other - whole).norm() / whole.norm()) <= 1e-5


def test_only_the_active_kits_specialists_run(
    runtime: Runtime, images: Tensor, second: KitSpec, randomise: Randomise
) -> None:
    first, other = runtime.attach("first"), runtime.attach(second)

    def calls(modules: KitModules) -> int:
        return sum(getattr(module, "calls", 0) for module in modules.modules())

    runtime.features(images)
    assert (calls(first), calls(other)) == (0, 0)
    runtime.predict(images, kit="first")
    assert calls(first) > 0
    assert calls(other) == 0


def test_a_trace_files_the_routing_of_the_active_kit_alone(
    runtime: Runtime, images: Tensor, second: KitSpec
) -> None:
    runtime.attach("first")
    runtime.attach(second)
    trace = RoutingTrace()
    runtime.predict(images[:1], kit="second", trace=trace)
    filed = [(record.kit, record.block) for record in trace.blocks if record.kit is not None]
    assert filed == [("second", 4), ("second", 9), ("second", 11)]
    assert sum(record.kit is None for record in trace.blocks) == 12


def test_attaching_leaves_the_backbone_as_it_is(
    runtime: Runtime, second: KitSpec, randomise: Randomise
) -> None:
    names = sorted(runtime.backbone.state_dict())
    randomise(runtime.attach("first"), by=0.05)
    runtime.attach(second)
    assert sorted(runtime.backbone.state_dict()) == names
    assert not any(parameter.requires_grad for parameter in runtime.backbone.parameters())
