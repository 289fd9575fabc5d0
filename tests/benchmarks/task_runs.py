"""Runs of kits for the benchmarks of tasks: three seeds each, every one in a process of its own.

| variable | what it does |
| --- | --- |
| `MOEKIT_SEEDS=0` | these seeds only; no figure is recorded unless all three ran |
| `MOEKIT_BENCH_RUNS=FOLDER` | runs are kept there, and finished ones are not made again |
| `MOEKIT_TINY=1` | a minute in place of an hour, to try the code; nothing at all is recorded |

A run's `seconds` are those of `adapt` alone. The first seed stores activations of the backbone
that later ones find. So a run has `prefix_seconds` too, the part that went into them, and
`whole_seconds` are what each run would have taken with nothing stored before it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from moekit import Registry
from moekit.evaluation import percentile_interval
from moekit.jobs.evaluate import evaluate_run
from moekit.testing.child import child_command, child_environment

ALL = (0, 1, 2)
SEEDS = tuple(int(seed) for seed in os.environ.get("MOEKIT_SEEDS", "0,1,2").split(","))
TINY = bool(os.environ.get("MOEKIT_TINY"))
RESAMPLES = 2000
MOST_GIB, MOST_MINUTES = 6.0, 30.0
"""What one `moekit adapt` may need."""

CAMVID = (
    "masks={path}?classes=sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,"
    "bicyclist,void&ignore=11&subtype=sequence"
)
CLASSES = {
    # Many pictures, so mirrors are enough; crops of 32 pixels have few.
    "cifar100": {
        "image_size": 112,
        "batch_size": 32,
        "epochs": 6,
        "baseline_epochs": 20,
        "patience": 4,
        "view_order": "mirror",
        "views": 2,
    },
    "grocery": {},
}
"""Sets of many classes by their loader, and what is changed in the recipe for each."""
LINEAR = {"learning_rate": 1e-2, "epochs": 24, "baseline_epochs": 1}
"""How the linear floor of segmentation is trained, whatever the kit's recipe says."""

_ROOT = Path(__file__).parents[2]
_TINY = {"epochs": 1, "baseline_epochs": 1, "views": 1, "image_size": 112}


def run(folder, kit, data, *, seed, task=None, split="val", changes=(), labels=1.0, **recipe):
    """Adapts and evaluates; returns the tallies of kit and baseline, and facts of the run.

    Args:
        folder: The run's folder; runs with one parent share their stored activations.
        kit: Name of the kit.
        data: `LOADER=PATH`.
        seed: Of everything that is drawn.
        task: As of `moekit adapt`.
        split: The split to answer.
        changes: Names in `task_child.CHANGES`, such as another head.
        labels: Share of the samples of train and of val that are kept, of each class.
        recipe: Fields of the recipe that are changed.
    """
    asked = {
        "kit": kit,
        "data": data,
        "seed": seed,
        "task": task,
        "split": split,
        "changes": list(changes),
        "recipe": {**recipe, **_TINY} if TINY else recipe,
        **({"labels": labels} if labels < 1 else {}),
    }
    cache = folder.parent / "cache"
    facts = child("task_child", asked, folder, MOEKIT_CACHE_DIR=str(cache))
    judge = Registry().task(facts["task"]).judge
    return judge.load(folder, "predictions"), facts


def runs_of(runs, name, kit, data, *, seeds=SEEDS, **how):
    """The tallies and the facts of a run for each seed; see `run`.

    Args:
        runs: The folder of all runs.
        name: What the folders of these begin with.
        kit: Name of the kit.
        data: `LOADER=PATH`.
        seeds: One run each.
        how: As `run` takes it.
    """
    found = [run(runs / f"{name}-{seed}", kit, data, seed=seed, **how) for seed in seeds]
    return [tallies for tallies, _ in found], [facts for _, facts in found]


def judged(kit, data, kept, given, *, split):
    """The tally of what a peer wrote, judged as `moekit evaluate --from` does.

    Args:
        kit: Name of the kit.
        data: `LOADER=PATH`.
        kept: The folder of a run on the same split.
        given: The peer's file or folder.
        split: The split that was answered.
    """
    evaluate_run(
        kit, data=data, run_folder=kept, split=split, given=given, on_progress=lambda *_: None
    )
    facts = json.loads((kept / "facts.json").read_text(encoding="utf-8"))
    judge = Registry().task(facts["task"]).judge
    (tally,) = judge.load(kept / "given" / given.name, "predictions")
    return tally


def child(module, asked, folder, **environment):
    """The facts that a module of this folder writes; not made again if it was asked the same."""
    facts, note = folder / "facts.json", folder.with_name(f"{folder.name}.asked.json")
    text = json.dumps(asked, sort_keys=True)
    if facts.is_file() and note.is_file() and note.read_text(encoding="utf-8") == text:
        return json.loads(facts.read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(text, encoding="utf-8")
    subprocess.run(
        child_command("-m", f"tests.benchmarks.{module}", str(note), str(folder)),
        env=_environment(**environment),
        check=True,
    )
    return json.loads(facts.read_text(encoding="utf-8"))


def _environment(**changes):
    found = child_environment(**changes)
    return {**found, "PYTHONPATH": os.pathsep.join([str(_ROOT), found["PYTHONPATH"]])}


def whole_seconds(facts):
    """Seconds of each run of `adapt` as if nothing had been stored before it."""
    longest = max(one["prefix_seconds"] for one in facts)
    return [one["seconds"] - one["prefix_seconds"] + longest for one in facts]


def cost(facts):
    """The longest and the largest of some runs.

    Minutes are by the clock. `processor_minutes` are those of all threads: on a quiet machine no
    run takes longer, whatever else this one had to do.
    """
    return {
        "minutes": max(whole_seconds(facts)) / 60,
        "processor_minutes": max(one["cpu_seconds"] for one in facts) / 60,
        "peak_gib": max(one["peak_gib"] for one in facts),
    }


def check_cost(*costs, minutes=MOST_MINUTES):
    """Fails if a run took too long or too much memory; call it once all is recorded."""
    for one in costs:
        assert min(one["minutes"], one["processor_minutes"]) < minutes, one
        assert one["peak_gib"] < MOST_GIB, one


def gain(pairs, measure, *, by_group=False):
    """Mean over seeds of ours less theirs, and the interval over items drawn alike.

    Args:
        pairs: Of each seed two tallies of the same items.
        measure: A tally and rows of it to a value.
        by_group: Whether whole groups are drawn.
    """
    for ours, theirs in pairs:
        assert ours.ids == theirs.ids

    def both(pair, rows):
        return measure(pair[0], rows) - measure(pair[1], rows)

    return _over_seeds(pairs, [ours for ours, _ in pairs], both, by_group=by_group)


def ratio(pairs, measure, *, by_group=False):
    """As `gain`, but our mean over seeds divided by theirs."""
    for ours, theirs in pairs:
        assert ours.ids == theirs.ids

    def divided(all_rows):
        both = [
            [measure(tally, rows) for tally in pair]
            for pair, rows in zip(pairs, all_rows, strict=True)
        ]
        ours, theirs = np.mean(both, axis=0)
        return ours / theirs if theirs else float("nan")

    return _resampled([ours for ours, _ in pairs], divided, by_group=by_group)


def mean_of(tallies, measure, *, by_group=False):
    """The mean of a measure over the tallies of seeds, with its interval.

    Items are drawn, or whole groups of them. What several seeds have in common is drawn for all at
    once: if each seed deals the set again, a tile that is in two test splits is in both or in none.
    So seeds do not count as if their images were independent.

    Args:
        tallies: Of one model, one a seed.
        measure: A tally and rows of it to a value; nan if the rows do not define it.
        by_group: Whether groups are drawn; an item without one stands alone.
    """
    return _over_seeds(tallies, tallies, measure, by_group=by_group)


def pooled_p(pairs, measure, *, by_group=False):
    """Two-sided p-value of no gain over all seeds, by the bootstrap of `gain`.

    An image that several seeds test is drawn for all of them at once, so five seeds are not five
    sets. The least value is 2 / (resamples + 1), as of Davison and Hinkley 1997, chapter 4.

    Args:
        pairs: As of `gain`.
        measure: As of `gain`.
        by_group: As of `gain`.
    """

    def mean(all_rows):
        drawn = zip(pairs, all_rows, strict=True)
        return np.mean(
            [measure(ours, rows) - measure(theirs, rows) for (ours, theirs), rows in drawn]
        )

    _, drawn = _draws([ours for ours, _ in pairs], mean, by_group=by_group)
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (beyond + 1) / (len(drawn) + 1)))


def _over_seeds(models, tallies, measure, *, by_group):
    """The mean of `measure(model, rows)`, with its interval; the tallies say what is drawn."""

    def mean(all_rows):
        pairs = zip(models, all_rows, strict=True)
        return np.mean([measure(model, rows) for model, rows in pairs])

    return _resampled(tallies, mean, by_group=by_group)


def _resampled(tallies, value, *, by_group):
    """The value of the rows of all tallies, with its interval over what is drawn."""
    whole, drawn = _draws(tallies, value, by_group=by_group)
    return whole, percentile_interval(drawn)


def _draws(tallies, value, *, by_group):
    """The value of the rows of all tallies, and (R,) its values on what is drawn."""
    names = [_units(tally) if by_group else tally.ids for tally in tallies]
    units = sorted({name for own in names for name in own})
    place = {name: number for number, name in enumerate(units)}
    unit_of = [np.array([place[name] for name in own]) for own in names]
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(0, len(units), len(units)), minlength=len(units))
        drawn.append(float(value([np.repeat(np.arange(len(own)), times[own]) for own in unit_of])))
    whole = value([np.arange(len(own)) for own in unit_of])
    return float(whole), np.array(drawn)


def _units(tally):
    groups = tally.groups or [""] * len(tally)
    return [group or name for group, name in zip(groups, tally.ids, strict=True)]


def keep(record_figure, key, figure, *, command, seeds=SEEDS, wanted=ALL):
    """Records a value with its interval, if all seeds that are wanted ran in full."""
    value, interval = figure
    if set(seeds) == set(wanted) and not TINY:
        record_figure(key, value, ci95=interval, seeds=seeds, command=command)


def share(figure):
    """A figure in percent as a share."""
    value, interval = figure
    return value / 100, None if interval is None else tuple(bound / 100 for bound in interval)


def top1(tally, rows):
    """In percent."""
    return 100 * (tally.probability_NC[rows].argmax(1) == tally.labels_N[rows]).mean()


def balanced_accuracy(tally, rows):
    """The mean recall of the classes that are there, in percent."""
    labels = tally.labels_N[rows]
    right = tally.probability_NC[rows].argmax(1) == labels
    found = [right[labels == label].mean() for label in np.unique(labels)]
    return 100 * np.mean(found) if found else float("nan")


def miou(tally, rows):
    """Over the classes that occur in truth or answer, in percent."""
    confusion = tally.confusion_NCC[rows].sum(0).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    there = union > 0
    if not there.any():
        return float("nan")
    return 100 * (np.diag(confusion)[there] / union[there]).mean()


def image_iou(tally, rows):
    """The mean over pictures of the mean IoU of their foreground classes, in percent."""
    values = tally.image_iou_N[rows]
    return 100 * np.nanmean(values) if np.isfinite(values).any() else float("nan")


def least_iou(tally, rows):
    """The least such IoU of a picture, in percent."""
    values = tally.image_iou_N[rows]
    return 100 * np.nanmin(values) if np.isfinite(values).any() else float("nan")
