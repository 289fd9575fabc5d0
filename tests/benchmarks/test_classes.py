"""Many classes from few pictures: the kit next to the same head on the frozen backbone.

A gain is in points of top-1, with the interval of a paired bootstrap over validation images: on
each resample the gains of the seeds are averaged. `task_runs` says how seeds and runs are chosen.
"""

import pytest

from tests.benchmarks.task_runs import SEEDS, check_cost, cost, gain, keep, mean_of, run, top1

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_classes.py -k "
RECIPES = {"cifar100": {"image_size": 112}, "grocery": {}}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_classes_beat_the_same_head_on_the_frozen_backbone(
    name, shared, runs, record, record_figure
):
    source = f"{name}={shared / 'data' / name}"
    found = [
        run(runs / f"{name}-{seed}", "finegrained", source, seed=seed, **RECIPES[name])
        for seed in SEEDS
    ]
    pairs, facts = [tallies for tallies, _ in found], [facts for _, facts in found]
    over_frozen = gain(pairs, top1)
    figures = {
        "gain": over_frozen,
        "top1": mean_of([ours for ours, _ in pairs], top1),
        "top1_frozen": mean_of([frozen for _, frozen in pairs], top1),
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": facts,
    }
    record(f"{name}_classes", figures)
    keep(record_figure, f"{name}.gain", over_frozen, command=f'{COMMAND}"frozen and {name}"')
    check_cost(figures["cost"])
