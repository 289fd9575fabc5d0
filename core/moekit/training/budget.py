"""`adapt --budget`: how many tokens a kit's passes compute, chosen on validation data.

A share of the dense backbone's arithmetic is met by the setting that changes the features least.
`auto` takes the fastest setting that keeps the headline metric of the validation split: the
baseline's head is trained on features of each setting, from the fastest up, until one loses at most
`ALLOWED` next to the dense features. The choice is the run's; the shared backbone stays as it is.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.fabric import Fabric

from moekit.backbone.model import MoEBackbone
from moekit.backbone.sources import cache_folder
from moekit.contract.jobs import FitJob
from moekit.contract.kits import KitSpec
from moekit.contract.metrics import MetricSpec
from moekit.contract.recipe import Recipe
from moekit.data.content import Contents
from moekit.data.samples import Dataset, Sample
from moekit.data.windows import cut_samples
from moekit.errors import MoekitError, UsageError
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.needs import usable_metrics
from moekit.evaluation.summary import Measured, difference_ci95, measure
from moekit.evaluation.verdict import LEAST
from moekit.moe.tokens import TokenRouting
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, resolve
from moekit.runs.run import Run
from moekit.runtime.device import pick_arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.load import rule_of
from moekit.runtime.tokens import learned_part, named_gate
from moekit.training.budget_ladder import Setting, Trunk, by_change, rungs, with_changes
from moekit.training.fit import fit
from moekit.training.learned import frame_for, plan_for, tiling_for
from moekit.training.prefix import PrefixStore, open_prefix
from moekit.training.prefix_plan import PrefixPlan
from moekit.training.selection import measured_of
from moekit.training.tally import tally_stored

OnProgress = Callable[[str, int, int], None]
Budget = Literal["auto"] | float
ALLOWED = 0.003
"""Greatest loss of the headline, as a share of its range; of one without bounds, of its value."""
LEVELS = (0.35, 0.5, 0.65, 0.8)
"""Shares of the dense arithmetic that `auto` tries."""
_LOOKED_AT, _TRAIN, _VAL = 8, 400, 1000
"""Most items whose features are compared, that a head learns from, and that judge it."""
_RESAMPLES = 1000
DENSE = {"token_share": 1.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budgeting:
    """What is needed to choose.

    Attributes:
        budget: `auto`, or the greatest share of the dense backbone's arithmetic.
        kit: The kit.
        dataset: Split data.
        run: The run to come, or one that is gone on with.
        recipe: How to train; its token gate is used, its share, block and window are chosen.
        backbone: The shared backbone, on the device of `fabric`.
        registry: The installed plugins.
        fabric: Launched.
        top_k: Generic experts a token has; as the backbone says if None.
        rule: By which points are chosen; the kit's own if empty.
        seed: Decides which items are taken, and how a head begins.
        cache_limit: Greatest size of the stored prefixes, in bytes.
        on_progress: Called with a description, what is done and the total.
    """

    budget: Budget
    kit: KitSpec
    dataset: Dataset
    run: Run
    recipe: Recipe
    backbone: MoEBackbone
    registry: Registry
    fabric: Fabric
    top_k: int | None
    rule: str
    seed: int
    cache_limit: int
    on_progress: OnProgress


def within_budget(job: Budgeting) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with tokens as the budget allows, and what is recorded of the choice.

    A run that is gone on with keeps what was chosen for it.

    Raises:
        UsageError: No setting is as cheap, or the token gate is one that each run trains.
        DataError: The data cannot be read.
    """
    if job.run.record.exists():
        known = job.run.read()["request"].get("budget") or {}
        if known.get("asked") != job.budget:
            return job.recipe, {"asked": job.budget}  # the run refuses it
        return job.recipe.changed(known["recipe"]), dict(known)
    began = time.perf_counter()
    search = _Search(job)
    found = search.fastest() if job.budget == "auto" else search.at(job.budget)
    record = {"asked": job.budget, **found, "seconds": round(time.perf_counter() - began, 1)}
    return job.recipe.changed(record["recipe"]), record


class _Search:
    """What a choice is made from."""

    def __init__(self, job: Budgeting) -> None:
        self._job = job
        self._resolved: Resolved = resolve(job.kit, job.registry, frames=job.dataset.frames)
        self._resolved.task.learn.check(job.dataset)
        one_view = {**DENSE, "views": 1, "scoring_views": 1}
        self._recipe = job.recipe.model_copy(update=one_view)
        self._frame = frame_for(job.recipe, job.dataset, job.backbone, None)
        self._tiling = tiling_for(job.recipe, self._resolved, self._frame)
        self._arithmetic = pick_arithmetic(job.recipe.precision, job.fabric.device)
        self._contents = Contents()
        gate = named_gate(job.recipe.token_gate, job.registry, width=job.backbone.width)
        kit = self._modules(self._resolved.kit)
        self._plan = self._planned(kit, "val", None)
        self._trunk = Trunk(
            backbone=job.backbone,
            grid=self._plan.grid(job.backbone),
            reads=kit.head_blocks,
            until=kit.prefix_end,
            top_k=job.top_k or job.backbone.top_k,
            gate=gate,
        )
        if learned_part(self._trunk.routing(_ANY)) is not None:
            raise UsageError(
                f"the gate {gate.name} is trained after the tokens' share is chosen",
                whose="--token-gate",
                fix="choose another gate, or give --token-share in place of --budget",
                code="usage/option-conflict",
            )

    def at(self, level: float) -> dict[str, Any]:
        """The setting that changes features least at a share of the dense arithmetic."""
        ways = self._compared(self._trunk.ways(level))
        if not ways:
            least = self._trunk.least
            raise UsageError(
                f"a share of {level:g} of the dense arithmetic cannot be reached: the kit's own "
                f"blocks compute all tokens, so {math.ceil(100 * least) / 100:.2f} is the least",
                whose=f"kit {self._job.kit.name}",
                fix="choose a larger --budget, or auto",
                code="usage/out-of-range",
            )
        best = min(ways, key=by_change)
        told = f"{best.in_words(self._trunk.until)}, which changes the features least at that share"
        return {
            "recipe": best.fields,
            "arithmetic": round(best.arithmetic, 4),
            "compared": [one.as_json() for one in ways],
            "in_words": [told],
        }

    def fastest(self) -> dict[str, Any]:
        """The fastest setting whose headline on the validation split is kept."""
        ways = self._compared([one for level in LEVELS for one in self._trunk.ways(level)])
        facts: dict[str, Any] = {"allowed_loss": ALLOWED, "compared": [w.as_json() for w in ways]}
        dense = self._tally(None)
        metric, found = measured_of(
            self._resolved,
            {"dense": dense},
            Resamples(dense, seed=0, count=_RESAMPLES),
            rule_of(self._resolved, self._job.rule),
        )
        if metric is None or found is None:
            told = "all tokens are computed: no headline can be computed on the validation split"
            return {**facts, **self._dense(), "in_words": [told]}
        (base,) = found.values()
        if base.units < LEAST:
            told = (
                f"all tokens are computed: the validation split has {base.units} independent items "
                f"of the rarest class, and fewer than {LEAST} cannot judge a loss"
            )
            return {**facts, **self._dense(), "in_words": [told]}
        facts.update(
            headline=metric.name, items=len(dense), loss_allowed=_allowed(metric, base.value)
        )
        measured = [{**self._dense(), "value": base.value, "ci95": base.ci95}]
        chosen: Setting | None = None
        for setting in rungs(ways, LEVELS):
            one = self._measured(metric, self._tally(setting), dense)
            if one is None:
                continue
            row = _row(setting, one, base)
            measured.append(row)
            if row["loss"] is not None and row["loss"] <= facts["loss_allowed"]:
                chosen = setting
                break
        picked = self._dense() if chosen is None else _picked(chosen)
        in_words = _curve_in_words(metric, measured, facts, chosen, self._trunk.until)
        return {**facts, **picked, "measured": measured, "in_words": in_words}

    def _dense(self) -> dict[str, Any]:
        return {"recipe": dict(DENSE), "arithmetic": round(self._trunk.arithmetic(None), 4)}

    def _compared(self, ways: Sequence[Setting]) -> list[Setting]:
        samples = self._some("val", _LOOKED_AT)
        return with_changes(
            self._trunk,
            ways,
            samples=cut_samples(samples, self._tiling)[:_LOOKED_AT],
            preprocess=self._plan.preprocess,
            arithmetic=self._arithmetic,
            contents=self._contents,
            on_progress=functools.partial(
                self._job.on_progress, "the budget: what merging changes"
            ),
        )

    def _some(self, split: str, most: int) -> list[Sample]:
        """At most that number of samples of a split, drawn evenly over their labels."""
        samples = self._job.dataset.split(split)
        if len(samples) <= most:
            return list(samples)
        counts, seen = collections.Counter(one.label for one in samples), collections.Counter[Any]()
        ranked = []
        for place in np.random.default_rng(self._job.seed).permutation(len(samples)):
            label = samples[place].label
            seen[label] += 1
            ranked.append((seen[label] / counts[label], place))
        return [samples[place] for place in sorted(place for _, place in sorted(ranked)[:most])]

    def _modules(self, spec: KitSpec) -> KitModules:
        job = self._job
        torch.manual_seed(job.seed)
        return KitModules(
            spec=spec,
            registry=job.registry,
            backbone=job.backbone,
            classes=len(job.dataset.classes),
            frames=job.dataset.frames,
            members=self._recipe.head_members,
        )

    def _planned(self, kit: KitModules, split: str, tokens: TokenRouting | None) -> PrefixPlan:
        """What is stored of a split: one view of each item."""
        return plan_for(
            *(self._recipe, self._job.dataset, kit, self._job.backbone),
            split=split,
            arithmetic=self._arithmetic,
            frame=self._frame,
            top_k=self._job.top_k,
            tokens=tokens,
        )

    def _stores(self, kit: KitModules, setting: Setting | None) -> list[PrefixStore]:
        """Features of the items that a head learns from, and of those that judge it."""
        job, most = self._job, {"train": _TRAIN, "val": _VAL}
        tokens = None if setting is None else self._trunk.routing(setting)
        plans = {split: self._planned(kit, split, tokens) for split in most}
        told = f"the budget: features at {self._trunk.arithmetic(tokens):.0%} of the arithmetic"
        stores = []
        for split, plan in plans.items():
            with job.fabric.rank_zero_first():
                store = open_prefix(
                    cut_samples(self._some(split, most[split]), self._tiling),
                    backbone=job.backbone,
                    plan=plan,
                    folder=cache_folder() / "prefix",
                    limit=job.cache_limit,
                    kept=plans.values(),
                    progress=functools.partial(job.on_progress, f"{told}, {split}"),
                    contents=self._contents,
                )
            stores.append(store)
        return stores

    def _tally(self, setting: Setting | None) -> Any:
        """Of the validation split, answered by the baseline's head on features of a setting."""
        job, task = self._job, self._resolved.task
        kit = self._modules(self._resolved.kit.bare).to(job.fabric.device)
        train, val = self._stores(kit, setting)
        recipe, epochs = self._recipe.for_set(self._recipe.baseline_epochs, len(train))
        with tempfile.TemporaryDirectory() as folder:
            fitting = FitJob(
                part="baseline",
                kit=kit,
                backbone=job.backbone,
                fabric=job.fabric,
                train=train,
                val=val,
                task=task,
                recipe=recipe,
                epochs=epochs,
                seed=job.seed,
                checkpoint=Path(folder) / "head.safetensors",
                on_epoch=lambda _: None,
                on_step=functools.partial(job.on_progress, "the budget: a head on these features"),
            )
            (self._resolved.kit.fit or fit)(fitting)
        return tally_stored(
            [(kit, val)],
            task=task,
            context=self._resolved.context(
                classes=job.dataset.classes, frame=self._frame, kinds=kit.kinds
            ),
            backbone=job.backbone,
            fabric=job.fabric,
            batch_size=job.recipe.batch_size,
        )[0]

    def _measured(self, metric: MetricSpec, tally: Any, dense: Any) -> Measured | None:
        """The headline; None if it is not defined. `dense` has the same items."""
        drawn = Resamples(dense, seed=0, count=_RESAMPLES)
        try:
            judge = self._resolved.task.judge
            point = judge.choose(tally, rule_of(self._resolved, self._job.rule))
            usable, _ = usable_metrics([metric], tally, point)
            return next(iter(measure(usable, tally, point, drawn)), None)
        except MoekitError:  # the evaluation says what is wrong
            return None


_ANY = Setting(arithmetic=1.0, share=0.5, block=0, window=2)


def _allowed(metric: MetricSpec, value: float) -> float:
    low, high = metric.bounds
    span = high - low
    return ALLOWED * (span if math.isfinite(span) else abs(value))


def _picked(setting: Setting) -> dict[str, Any]:
    return {"recipe": setting.fields, "arithmetic": round(setting.arithmetic, 4)}


def _row(setting: Setting, one: Measured, base: Measured) -> dict[str, Any]:
    """A point of the curve: the headline, and what it loses to the dense features."""
    up = one.spec.higher_is_better
    loss = base.value - one.value if up else one.value - base.value
    interval = difference_ci95(base, one) if up else difference_ci95(one, base)
    return {
        **_picked(setting),
        "change": setting.change,
        "value": one.value if math.isfinite(one.value) else None,
        "ci95": one.ci95,
        "loss": loss if math.isfinite(loss) else None,
        "loss_ci95": interval,
    }


def _curve_in_words(
    metric: MetricSpec,
    measured: Sequence[dict[str, Any]],
    facts: dict[str, Any],
    chosen: Setting | None,
    until: int,
) -> list[str]:
    tried = [
        f"{row['arithmetic']:.0%} of the arithmetic loses {row['loss']:.4f}{_interval(row)}"
        for row in measured[1:]
        if row["loss"] is not None
    ]
    curve = (
        f"{metric.name} of the baseline's head on {facts['items']} items of the validation split: "
        f"{measured[0]['value']:.4f} with all tokens; {'; '.join(tried) or 'nothing else tried'}"
    )
    allowed = f"at most {facts['loss_allowed']:.4g} may be lost"
    if chosen is None:
        return [f"all tokens are computed, since {allowed} and no setting keeps that", curve]
    return [f"the tokens are routed at {chosen.in_words(until)}; {allowed}", curve]


def _interval(row: dict[str, Any]) -> str:
    interval = row["loss_ci95"]
    return "" if interval is None else f" ({interval[0]:.4f} to {interval[1]:.4f})"
