"""Heads of several members: the recipe asks for them, the run keeps them."""

import dataclasses

import pytest

from moekit import PooledHead
from moekit.plugins.registry import Registry
from moekit.runs.run import Run
from moekit.runtime.kit import KitModules
from moekit.testing import refused
from moekit.testing.inputs import write_images
from moekit.testing.reference import (
    REFERENCE_KIT,
    SIDE,
    add_reference,
    run_kit,
    small_backbone,
)

RECIPE = REFERENCE_KIT.recipe.changed({"head_members": 3})


@pytest.fixture(scope="module")
def registry():
    return add_reference(Registry(strict=False))


def test_a_run_of_members_is_kept_and_answers_again(registry, tmp_path):
    (tmp_path / "images").mkdir()
    dataset = write_images(tmp_path / "images", None, side=SIDE)
    kit = dataclasses.replace(REFERENCE_KIT, build_head=PooledHead, recipe=RECIPE)
    run_kit(kit, dataset, tmp_path / "run", registry)  # the evaluation loads the run
    run = Run(tmp_path / "run")
    assert run.recipe().head_members == 3
    assert (run.folder / "result.json").exists()


def test_a_run_of_before_there_were_members_has_one(registry):
    recipe = REFERENCE_KIT.recipe.model_dump()
    del recipe["head_members"]
    kit = dataclasses.replace(
        REFERENCE_KIT, build_head=PooledHead, recipe=type(RECIPE).model_validate(recipe)
    )
    modules = KitModules(
        spec=kit,
        registry=registry,
        backbone=small_backbone(),
        members=kit.recipe.head_members,
    )
    assert modules.head.members == 1
    assert modules.head.score.weight.shape == (1, 64)


def test_a_head_that_has_one_member_is_refused_if_the_recipe_asks_for_more(registry):
    with refused("usage/no-head-members"):
        KitModules(spec=REFERENCE_KIT, registry=registry, backbone=small_backbone(), members=3)
