"""Outlines and types of defects, next to the same head on the frozen backbone.

The sets keep all defects for their test split, so each seed deals them again: 60% for training, 15%
for validation, 25% for the test, on which the figures are. Values of seeds are averaged.

Magnetic tile has a tile under up to six exposures. Its `index.csv` names the tile of each image
(`tile_group`), the loader `mvtec` makes it the image's group, and whole groups are dealt. So no
tile is on two sides, which is checked here. Intervals draw tiles, each with all of its exposures,
in all seeds at once.

Screws are single pictures. `balanced_accuracy` is over good screws and the five types of defects,
`type_accuracy` over the five types.
"""

import pytest

from moekit import Registry
from moekit.plugins.changes import KitChanges
from moekit.plugins.resolve import kit_for_data
from tests.benchmarks.task_runs import (
    SEEDS,
    balanced_accuracy,
    check_cost,
    cost,
    keep,
    mean_of,
    miou,
    runs_of,
    share,
)

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_defects.py -k "


@pytest.mark.parametrize(
    ("task", "measure", "key"),
    [
        ("segment", miou, "magnetic_tile.miou"),
        ("classify", balanced_accuracy, "magnetic_tile.balanced_accuracy"),
    ],
)
def test_defects_of_tiles(task, measure, key, shared, runs, record, record_figure):
    source = f"mvtec={shared / 'data' / 'magnetic_tile'}"
    for seed in SEEDS:
        check_tiles_are_apart(source, task, seed)
    found, facts = runs_of(runs, f"tile-{task}", "industrial", source, task=task, split="test")
    values = {
        name: mean_of([tallies[place] for tallies in found], measure, by_group=True)
        for place, name in enumerate(("kit", "frozen"))
    }
    figures = {**values, "cost": cost(facts), "seeds": SEEDS, "runs": facts}
    record(f"magnetic_tile_{task}", figures)
    for name, end in (("kit", ""), ("frozen", "_frozen")):
        command = f'{COMMAND}"tiles and {task}"'
        keep(record_figure, f"{key}{end}", share(values[name]), command=command)
    check_cost(figures["cost"])


def test_types_of_defects_of_screws(shared, runs, record, record_figure):
    source = f"mvtec={shared / 'data' / 'mvtec_screw'}"
    found, facts = runs_of(runs, "screw", "industrial", source, task="classify", split="test")
    measures = {"balanced_accuracy": balanced_accuracy, "type_accuracy": type_accuracy}
    values = {
        name: {
            key: mean_of([tallies[place] for tallies in found], measure)
            for key, measure in measures.items()
        }
        for place, name in enumerate(("kit", "frozen"))
    }
    figures = {**values, "cost": cost(facts), "seeds": SEEDS, "runs": facts}
    record("screw_types", figures)
    for name, end in (("kit", ""), ("frozen", "_frozen")):
        for key in measures:
            keep(
                record_figure,
                f"screw.{key}{end}",
                share(values[name][key]),
                command=f'{COMMAND}"screws"',
            )
    check_cost(figures["cost"])


def type_accuracy(tally, rows):
    """The mean recall of the types of defects alone, good screws left out, in percent."""
    return balanced_accuracy(tally, rows[tally.labels_N[rows] > 0])


def check_tiles_are_apart(source, task, seed):
    registry = Registry()
    _, dataset = kit_for_data(
        registry,
        "industrial",
        registry.load_dataset(source, seed=seed),
        task=task,
        changes=KitChanges(),
        seed=seed,
    )
    homes = {}
    for sample in dataset.samples:
        assert sample.group, f"{sample.id} has no tile"
        homes.setdefault(sample.group, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in homes.values())
    assert {split for splits in homes.values() for split in splits} == {"train", "val", "test"}
