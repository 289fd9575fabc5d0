"""Outlines of single objects: defects of tiles, and things in photographs.

Next to the kit stand the same head with plain learned queries on the frozen backbone, and for tiles
the regions that a threshold on the maps of good pictures gives (`region_peer`). Each seed deals the
tiles again, whole tiles together, and intervals draw tiles. Photographs are the masked part of
coco128, judged on its split `val`. AP is that of masks.
"""

import pytest

from tests.benchmarks.task_runs import (
    SEEDS,
    check_cost,
    child,
    cost,
    gain,
    judged,
    keep,
    mean_of,
    runs_of,
    share,
)
from tests.benchmarks.test_objects import MOST_MINUTES, ap, ap50

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_instances.py -k "
MEASURES = {"ap": ap, "ap50": ap50}


def test_outlines_of_defects(shared, runs, record, record_figure):
    source = f"mvtec={shared / 'data' / 'magnetic_tile'}"
    name, how = "tile-instances", {"task": "instances", "split": "test"}
    found, facts = runs_of(runs, name, "industrial", source, **how)
    regions, peer_facts = [], []
    for seed in SEEDS:
        folder, given = runs / f"{name}-{seed}", runs / f"tile-regions-{seed}"
        asked = {"data": source, "seed": seed, "split": "test"}
        peer_facts.append(child("region_peer", asked, given))
        regions.append(judged("industrial", source, folder, given / "results.json", split="test"))
    models = {
        "kit": [kit for kit, _ in found],
        "plain": [plain for _, plain in found],
        "regions": regions,
    }
    pairs = {"gain": found, "gain_over_regions": list(zip(models["kit"], regions, strict=True))}
    figures = {
        **{name: _each(mean_of, tallies, by_group=True) for name, tallies in models.items()},
        **{name: _each(gain, both, by_group=True) for name, both in pairs.items()},
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": facts,
        "regions_of": peer_facts,
    }
    record("tile_instances", figures)
    command = f"{COMMAND}defects"
    keep(record_figure, "tile.mask_ap50", share(figures["kit"]["ap50"]), command=command)
    check_cost(figures["cost"], minutes=MOST_MINUTES)


def test_outlines_of_things(shared, runs, record):
    source = f"coco={shared / 'data' / 'coco128'}?annotations=instance_masks&test=val"
    how = {"task": "instances", "split": "test"}
    pairs, facts = runs_of(runs, "coco-instances", "detection", source, **how)
    figures = {
        "kit": _each(mean_of, [kit for kit, _ in pairs]),
        "plain": _each(mean_of, [plain for _, plain in pairs]),
        "gain": _each(gain, pairs),
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": facts,
    }
    record("coco_instances", figures)
    check_cost(figures["cost"], minutes=MOST_MINUTES)


def _each(of, tallies, *, by_group=False):
    return {name: of(tallies, measure, by_group=by_group) for name, measure in MEASURES.items()}
