"""How long a training is: longer than the recipe says if the set is too small for its steps."""

from __future__ import annotations

from moekit.contract.recipe import Recipe


def length_in_words(recipe: Recipe, samples: int) -> tuple[str, ...]:
    """A sentence if a small set makes the trainings longer; none otherwise.

    Args:
        recipe: How to train.
        samples: Items of the training split.
    """
    _, epochs = recipe.for_set(recipe.epochs, samples)
    _, baseline = recipe.for_set(recipe.baseline_epochs, samples)
    if (epochs, baseline) == (recipe.epochs, recipe.baseline_epochs):
        return ()
    return (
        f"the training split is small ({samples} items): {epochs} epochs in place of "
        f"{recipe.epochs}, and {baseline} in place of {recipe.baseline_epochs} of the baseline, so "
        f"that each training makes {recipe.least_steps} steps; epochs that are asked for stay",
    )
