"""The runtime: attaching, detaching, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moekit import (
    KitSpec,
    MoEBackbone,
    Registry,
    Runtime,
    SpecialistSlot,
)
from moekit.plugins.discovery import Plugin, State
from moekit.testing import refused

MakeKit = Callable[..., KitSpec]


@pytest.fixture
def runtime(tiny_backbone: MoEBackbone, registry: Registry) -> Runtime:
    return Runtime(tiny_backbone, registry=registry)


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 3, 32, 40, generator=generator)


def slot(block: int, **changes: object) -> SpecialistSlot:
    options = {"block": block, "experts": ("token",), "gate": "best", "top_k": 1, **changes}
    return SpecialistSlot(**options)  # type: ignore[arg-type]


def test_kits_are_attached_by_name_or_by_record(runtime: Runtime, make_kit: MakeKit) -> None:
    runtime.attach("first")
    runtime.attach(make_kit("second"))
    assert runtime.kits == ("first", "second")


def test_a_qualified_name_attaches_the_kit_under_its_short_name(runtime: Runtime) -> None:
    runtime.attach("fake/first")
    assert runtime.kits == ("first",)


def test_a_kit_is_attached_once(runtime: Runtime) -> None:
    runtime.attach("first")
    with refused("usage/name-taken", match="first"):
        runtime.attach("first")


def test_a_detached_kit_may_be_attached_again(runtime: Runtime) -> None:
    runtime.attach("first")
    runtime.detach("first")
    assert runtime.kits == ()
    runtime.attach("first")
    assert runtime.kits == ("first",)


def test_a_kit_that_is_not_attached_can_do_nothing(runtime: Runtime, images: Tensor) -> None:
    runtime.attach("first")
    for call in (
        lambda: runtime.detach("other"),
        lambda: runtime.predict(images, kit="other"),
        lambda: runtime.features(images, kit="other"),
    ):
        with refused("usage/not-attached") as caught:
            call()
        assert "attached: first" in caught.value.fix


def test_an_unknown_kit_is_refused_with_a_suggestion(runtime: Runtime) -> None:
    with refused("usage/unknown-name", match="'frist'") as caught:
        runtime.attach("frist")
    assert "did you mean first?" in caught.value.fix
    assert runtime.kits == ()


def test_a_kit_of_an_unusable_plugin_is_the_plugins_fault(
    tiny_backbone: MoEBackbone, registry: Registry
) -> None:
    broken: Plugin = registry.plugins[0]
    broken.fail(State.BROKEN, "it fell apart")
    with refused("plugin/not-usable"):
        Runtime(tiny_backbone, registry=registry).attach("first")


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (2, 1, 32, 32), (2, 3, 30, 32), (2, 0, 3, 32, 32), (2, 2, 1, 32, 32)]
)
def test_predictions_want_a_batch_of_images(shape: tuple[int, ...], runtime: Runtime) -> None:
    runtime.attach("first")
    with refused("usage/image-shape"):
        runtime.predict(torch.zeros(shape), kit="first")


def test_a_head_that_knows_no_stacks_is_refused_by_name(runtime: Runtime) -> None:
    runtime.attach("first")
    with refused("plugin/bad-head", match="4 .*logit_B.* 2 "):
        runtime.predict(torch.zeros(2, 2, 3, 32, 32), kit="first")


def test_features_take_clips_too(runtime: Runtime, images: Tensor) -> None:
    runtime.attach("first")
    clip = runtime.features(images[None], kit="first")
    assert clip.frames == clip.grid.frames == 2
    assert torch.equal(clip.final_BND, runtime.features(images, kit="first").final_BND)


@pytest.mark.parametrize("block", [3, -4, 100])
def test_a_slot_in_a_block_that_does_not_exist_is_refused(
    block: int, runtime: Runtime, make_kit: MakeKit
) -> None:
    with refused("usage/out-of-range", match=f"{block}.*3"):
        runtime.attach(make_kit("other", slots=(slot(block),)))
    assert runtime.kits == ()


def test_a_head_on_a_block_that_does_not_exist_is_refused(
    runtime: Runtime, make_kit: MakeKit
) -> None:
    with refused("usage/out-of-range", match="7"):
        runtime.attach(make_kit("other", head_blocks=(7,)))


@pytest.mark.parametrize("blocks", [(1, 1), (2, -1)])
def test_two_slots_in_one_block_are_refused(
    blocks: tuple[int, int], runtime: Runtime, make_kit: MakeKit
) -> None:
    with refused("usage/slot-conflict") as caught:
        runtime.attach(make_kit("other", slots=tuple(map(slot, blocks))))
    assert caught.value.whose == "kit other"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"experts": ("tokken",)}, "tokken"),
        ({"gate": "worst"}, "worst"),
    ],
)
def test_a_slot_of_unknown_parts_is_refused(
    changes: dict[str, object], name: str, runtime: Runtime, make_kit: MakeKit
) -> None:
    with refused("usage/unknown-name", match=name):
        runtime.attach(make_kit("other", slots=(slot(1, **changes),)))


def test_the_same_expert_twice_makes_two_experts(runtime: Runtime, make_kit: MakeKit) -> None:
    modules = runtime.attach(make_kit("twins", slots=(slot(1, experts=("token", "token")),)))
    first, second = modules.branches[1].experts
    assert first is not second
    assert first.down.weight.data_ptr() != second.down.weight.data_ptr()


SHAPES = {
    "specialists in the first block": {"slots": (slot(0),), "head_blocks": (0, -1)},
    "specialists after the head": {"slots": (slot(2),), "head_blocks": (0,)},
    "no specialists": {"slots": (), "head_blocks": (0, 1)},
    "the head in the prefix": {"slots": (slot(2),), "head_blocks": (0, 1, 2)},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_a_prediction_equals_the_head_on_the_features_of_all_blocks(
    changes: dict[str, object],
    runtime: Runtime,
    images: Tensor,
    make_kit: MakeKit,
    randomise: Callable[..., None],
) -> None:
    modules = runtime.attach(make_kit("other", **changes))
    randomise(modules)
    with torch.inference_mode():
        features = runtime.backbone(images, branches=modules.branches, keep=range(3))
        tokens = [features.blocks[block] for block in modules.head_blocks]
        expected = modules.head(tokens, features.grid)
    found = runtime.predict(images, kit="other")
    assert torch.equal(found["logit_B"], expected["logit_B"].double())
    assert torch.equal(found["map_BHW"], expected["map_BHW"])


def test_scores_and_maps_are_probabilities(
    runtime: Runtime, images: Tensor, randomise: Callable[..., None]
) -> None:
    randomise(runtime.attach("first"))
    output = runtime.predict(images, kit="first")
    assert output["logit_B"].shape == (2,)
    assert output["map_BHW"].shape == (2, 4, 5)
    for values in (output["logit_B"].sigmoid(), output["map_BHW"]):
        assert ((values >= 0) & (values <= 1)).all()
    assert not output["logit_B"].requires_grad


def test_attached_modules_are_in_eval_mode(runtime: Runtime) -> None:
    assert not any(module.training for module in runtime.attach("first").modules())


def refuse(*_):
    raise ValueError("no memory for this")


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"head_blocks": ()}, "plugin/bad-head", ""),
        ({"build_head": refuse}, "plugin/build-failed", "ValueError: no memory for this"),
        (
            {"slots": (SpecialistSlot(block=-1, experts=("token",), gate="best", top_k=3),)},
            "plugin/bad-slot",
            "top_k 3",
        ),
    ],
)
def test_a_kit_that_cannot_be_built_is_named_when_it_is_attached(
    changes, code, named, make_kit, tiny_backbone, registry
):
    runtime = Runtime(tiny_backbone, registry=registry)
    with refused(code, match=named) as caught:
        runtime.attach(make_kit("unsound", **changes))
    assert "unsound" in caught.value.whose
    assert runtime.kits == ()
