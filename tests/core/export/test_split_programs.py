"""A kit's program in two parts next to the whole one, and what the parts read."""

import dataclasses

import pytest
import torch
from torch import nn

import moekit
from moekit.data.views import view
from moekit.export.program import KitProgram
from moekit.export.split.predictor import own_inputs
from moekit.export.split.programs import (
    OwnProgram,
    PrefixProgram,
    models_of,
    tokens_in_torch,
    tokens_read,
)
from moekit.moe.specialists import Grid
from moekit.moe.tokens import TokenRouting
from moekit.runtime.predictor import Predictor
from moekit.runtime.tokens import named_gate
from moekit.tasks.score import SCORE


class PictureHead(nn.Module):
    """Answers by the tokens of one block and by the picture itself."""

    reads_picture = True

    def __init__(self, site):
        super().__init__()
        self.layer = nn.Linear(site.width, 1)

    def forward(self, tokens, grid, *, picture):
        by_tokens = self.layer(tokens[-1].mean(1))[:, 0]
        return moekit.HeadOutput(logit_B=by_tokens + picture.flatten(1).mean(1), map_BHW=None)


@pytest.fixture
def late(make_predictor):
    """Makes a kit whose specialists are in the last of three blocks; its head reads all."""

    def make(**changes):
        slot = dataclasses.replace(make_predictor.slot, block=2)
        return make_predictor(**{"slots": (slot,), "head_blocks": (0, 1, 2), **changes})

    return make


def with_mean(kit, other):
    return Predictor(
        backbone=kit.backbone,
        kit=kit.kit,
        baseline=other.kit,
        task=SCORE,
        arithmetic="fp32",
        views=kit.views,
        mean="alone",
    )


@torch.no_grad()
def check(predictor, preprocess, generator, blocks=None):
    """Both parts, in torch, give what the whole gives; returns what the second reads."""
    shape = preprocess.shape
    blocks = blocks or predictor.kit.trunk_end
    names = tokens_read(models_of(predictor), blocks)
    images = torch.randn(3, *shape, generator=generator)
    whole = KitProgram.of(predictor, shape)
    prefix = PrefixProgram(KitProgram.of(predictor, shape), blocks, names)
    grid = Grid(shape[-2] // 8, shape[-1] // 8, preprocess.frames)
    own = OwnProgram(KitProgram.of(predictor, shape), blocks, names, grid)
    seen = []
    for number in predictor.views:
        turned = view(images, number) if number else images
        found = dict(zip(names, prefix(turned), strict=True))
        right = tokens_in_torch(predictor, turned, blocks, names)
        assert list(right) == list(names)
        for name, value in right.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4)
        seen.append({name: value.numpy() for name, value in found.items()})
    given = own_inputs(own.inputs, seen, images)
    for found, right in zip(own(*map(torch.from_numpy, given)), whole(images), strict=True):
        if right is None:
            assert found is None
        else:
            torch.testing.assert_close(found, right, rtol=0, atol=1e-4)
    assert len(prefix.backbone.blocks) == blocks
    return own.inputs


def test_the_block_of_the_first_specialists_is_shared_without_them(
    make_predictor, late, preprocess, generator
):
    assert check(make_predictor(), preprocess, generator) == ("block_0", "block_1", "normal_1")
    assert check(late(), preprocess, generator) == ("block_0", "block_1", "block_2", "normal_2")
    read_once = late(head_blocks=(2,), views=3)
    assert check(read_once, preprocess, generator) == ("block_2", "normal_2")


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_kit_goes_on_from_a_shorter_prefix(late, preprocess, generator, blocks):
    read = check(late(views=2), preprocess, generator, blocks)
    assert read == tuple(f"block_{block}" for block in range(blocks))


def test_without_specialists_in_the_trunk_all_blocks_are_shared(
    make_predictor, preprocess, generator
):
    bare = make_predictor(slots=(), head_blocks=(0, 2))
    assert check(bare, preprocess, generator) == ("block_0", "block_2")
    slot = make_predictor.slot
    side = make_predictor(slots=(slot,), head_blocks=(0, 2), placement="side")
    assert check(side, preprocess, generator) == ("block_0", "block_1", "block_2")
    check(side, preprocess, generator, blocks=1)


def test_stacks_and_fewer_experts_have_two_parts(late, preprocess, generator):
    stacks = dataclasses.replace(preprocess, frames=3)
    check(late(views=2), stacks, generator)
    check(late(top_k=2, experts=4), preprocess, generator)


def test_a_head_that_reads_the_picture_gets_it(make_predictor, preprocess, generator):
    kit = make_predictor(build_head=PictureHead, views=2)
    assert check(kit, preprocess, generator)[-1] == "images"


def test_the_mean_of_two_models_goes_on_from_one_prefix(
    make_predictor, late, preprocess, generator
):
    bare = make_predictor(slots=(), head_blocks=(0, 1, 2))
    both = with_mean(late(), bare)
    assert check(both, preprocess, generator)[-1] == "normal_2"
    check(both, preprocess, generator, blocks=2)


def test_routed_tokens_are_chosen_in_the_prefix(late, registry, preprocess, generator):
    kit = late(head_blocks=(0, 2))
    gate = named_gate("texture", registry, width=32)
    kit.tokens = TokenRouting(gate=gate, block=0, until=2, share=0.5, window=2)
    check(kit, preprocess, generator)
    check(kit, preprocess, generator, blocks=2)
