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
    run,
    share,
)
from tests.benchmarks.test_objects import MOST_MINUTES, ap, ap50

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_instances.py -k "
MEASURES = {"ap": ap, "ap50": ap50}


def test_outlines_of_defects(shared, runs, record, record_figure):
    source = f"mvtec={shared / 'data' / 'magnetic_tile'}"
    found, facts, regions, peer_facts = [], [], [], []
    for seed in SEEDS:
        folder = runs / f"tile-instances-{seed}"
        tallies, known = run(
            folder, "industrial", source, seed=seed, task="instances", split="test"
        )
        found.append(tallies)
        facts.append(known)
        given = runs / f"tile-regions-{seed}"
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
        **{name: _each(mean_of, tallies) for name, tallies in models.items()},
        **{name: _each(gain, both) for name, both in pairs.items()},
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
    found = [
        run(
            runs / f"coco-instances-{seed}",
            "detection",
            source,
            seed=seed,
            task="instances",
            split="test",
        )
        for seed in SEEDS
    ]
    facts = [one for _, one in found]
    pairs = [tallies for tallies, _ in found]
    figures = {
        "kit": {name: mean_of([kit for kit, _ in pairs], one) for name, one in MEASURES.items()},
        "plain": {name: mean_of([of for _, of in pairs], one) for name, one in MEASURES.items()},
        "gain": {name: gain(pairs, one) for name, one in MEASURES.items()},
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": facts,
    }
    record("coco_instances", figures)
    check_cost(figures["cost"], minutes=MOST_MINUTES)


def _each(of, tallies):
    return {name: of(tallies, measure, by_group=True) for name, measure in MEASURES.items()}
