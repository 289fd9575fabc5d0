"""The record of a kit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moekit.contract.experts import Placement, SpecialistSlot
from moekit.contract.jobs import FitJob, FitResult, PredictJob
from moekit.contract.outputs import HeadSite
from moekit.contract.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from moekit.contract.tasks import ItemReader
    from moekit.data.samples import Dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitSpec:
    """A domain kit, or one variant of it: one task on one kind of data.

    Attributes:
        name: Short name, the KIT of the command line. All variants of a kit share it.
        summary: One line for lists.
        slots: The specialists.
        head_blocks: Blocks whose output the head reads; negative counts from the end.
        build_head: Makes the head for a `HeadSite`. The head is called as `head(tokens, grid)`
            with one (B, N, D) tensor per head block and returns the task's `Outputs`. Of stacks B
            counts the frames, and the outputs have one row for each `grid.frames` of them. A head
            may ask for more, see `HeadSite`. A kit of API 1.x gives a function of the width and the
            number of blocks instead.
        recipe: How `moekit adapt` trains.
        task: Name of the task.
        metrics: Names of the metrics that an evaluation reports, the headline first; the task's
            own if empty.
        positive: Of the task `score`: what a high score means, in one word (such as "defective").
        outcome_names: Of the task `score`: the field's words for `missed` positives and
            `false_alarm`s.
        vocabulary: Further words that the task asks for, by name.
        options: What the task lets a kit set, by name.
        demo_dataset: The `--data` value of `moekit demo`; empty for a variant without one.
        disclaimer: A sentence for every output; empty for none.
        predict: Takes the place of the core's way of answering images one by one, for inputs that
            are no plain images; returns a JSON-ready summary. None for plain images.
        reader: Turns inputs into items if they are no plain images and the core answers the items;
            None for plain images, or with `predict`.
        demo_inputs: Inputs that `moekit demo` predicts after the evaluation, by a name for their
            output folder; called with a folder for files that must be made. None for no such part.
        demo_recipe: Fields of the recipe that `moekit demo` changes, so that its training is short;
            chosen on validation data. `moekit demo --full` changes none.
        stack_experts: Names of registered experts that each slot gets too if samples are stacks of
            frames; images are not touched by them.
        threshold_rule: How the point is chosen on validation data if the user names no rule; the
            task's first rule if empty.
        fit: Takes the place of the core's training loop; None for that loop.
        negatives_only: The variant for data whose training split holds negatives only: with a `fit`
            and a `threshold_rule` that need no positives. None if the kit cannot learn from such
            data.
        map_metrics: Names of the map metrics that an evaluation reports after the others, if the
            head gives maps and samples have masks.
        variants: The kit's other tasks, chosen by `--task`; each of the same name.
        prepare: Turns a loaded set into the truth of this variant, such as types of defects in
            place of good and defective; called with the set and the seed of its splits. None if
            the set is used as it is.
        baseline_name: What reports call the baseline; "frozen backbone, same head" if empty. A kit
            with a `fit` of its own names what that gives for the part `baseline`.
        baseline_head: Makes the head of the baseline if it is another one, as `build_head` does;
            None for the same head. Its outputs have the same names, and it reads the same blocks.
        placement: `trunk`: what specialists give is added to the tokens, which the later blocks
            read. `side`: it is added to a stream of the kit's own that starts at zero; a
            specialist reads the sum of the bare block's output and that stream, and so does the
            head. The bare blocks then stay the same for all kits, which share them all (ladder
            side-tuning, Sung et al. 2022, arXiv:2206.06522).
        hides_paths: Whether runs and results are recorded without the paths of the command line,
            since names of files and folders may be private.
    """

    name: str
    summary: str
    slots: tuple[SpecialistSlot, ...]
    head_blocks: tuple[int, ...]
    build_head: Callable[[HeadSite], nn.Module]
    recipe: Recipe
    task: str = "score"
    metrics: tuple[str, ...] = ()
    positive: str = ""
    outcome_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    vocabulary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    demo_dataset: str = ""
    disclaimer: str = ""
    predict: Callable[[PredictJob], dict[str, Any]] | None = None
    reader: ItemReader | None = None
    demo_inputs: Callable[[Path], Mapping[str, Path]] | None = None
    demo_recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stack_experts: tuple[str, ...] = ()
    threshold_rule: str = ""
    fit: Callable[[FitJob], FitResult] | None = None
    negatives_only: KitSpec | None = None
    map_metrics: tuple[str, ...] = ()
    variants: tuple[KitSpec, ...] = ()
    prepare: Callable[[Dataset, int], Dataset] | None = None
    baseline_name: str = ""
    baseline_head: Callable[[HeadSite], nn.Module] | None = None
    hides_paths: bool = False
    placement: Placement = "trunk"

    @property
    def words(self) -> dict[str, Any]:
        """All words that the task may ask for."""
        return {"positive": self.positive, **self.outcome_names, **self.vocabulary}

    def variant(self, *, task: str, summary: str, **changes: Any) -> KitSpec:
        """This kit for another task, with nothing of its own task left.

        Name, disclaimer, slots and their placement, head blocks, stack experts and whether paths
        are hidden stay if `changes` does not name them; the task's metrics, words, options,
        demonstration, rule, `fit`, `predict`, `prepare`, reader and variants go.

        Args:
            task: The other task.
            summary: What the variant does.
            changes: Fields of the variant; `build_head` and `recipe` belong here.
        """
        kept = {name: getattr(self, name) for name in _KEPT}
        return KitSpec(**{**kept, "task": task, "summary": summary, **changes})

    @property
    def bare(self) -> KitSpec:
        """The baseline: the same head, or the one that the kit names, on the bare backbone."""
        build = self.baseline_head or self.build_head
        return dataclasses.replace(self, slots=(), stack_experts=(), build_head=build)


_KEPT = (
    *("name", "slots", "head_blocks", "build_head", "recipe", "disclaimer", "stack_experts"),
    *("hides_paths", "placement"),
)
"""What the variants of a kit have in common unless they say otherwise."""
