"""Recipes: other values in some fields, and longer trainings of small sets."""

import pytest
from pydantic import ValidationError

from moekit import Recipe

SHORT = Recipe(epochs=10, baseline_epochs=20, batch_size=32, patience=4, least_steps=400)


@pytest.mark.parametrize(
    ("epochs", "samples", "longer", "patience"),
    [
        (10, 288, 50, 20),  # 9 steps an epoch: 90, 180, ..., 450
        (20, 288, 60, 12),
        (10, 1280, 10, 4),  # 40 steps an epoch: 400 at once
        (10, 1279, 10, 4),  # the last, shorter step counts
        (10, 1, 400, 160),
        (10, 0, 400, 160),
    ],
)
def test_a_small_set_has_as_many_epochs_as_its_least_steps_need(epochs, samples, longer, patience):
    recipe, found = SHORT.for_set(epochs, samples)
    assert (found, recipe.patience) == (longer, patience)
    assert found * max(1, -(-samples // 32)) >= 400


def test_without_least_steps_no_set_changes_a_recipe():
    plain = SHORT.model_copy(update={"least_steps": 0})
    assert plain.for_set(10, 3) == (plain, 10)


def test_epochs_that_are_asked_for_are_taken_as_they_are():
    for name in ("epochs", "baseline_epochs"):
        assert SHORT.changed({name: 2}).least_steps == 0
    assert SHORT.changed({"views": 2}).least_steps == 400
    assert SHORT.changed({"epochs": 2, "least_steps": 7}).least_steps == 7
    assert SHORT.changed({}) == SHORT


def test_a_change_that_is_none_is_refused():
    with pytest.raises(ValidationError):
        SHORT.changed({"epoch": 2})
    with pytest.raises(ValidationError):
        SHORT.changed({"least_steps": -1})
