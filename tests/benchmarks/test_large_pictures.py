"""Outlines in large pictures: printed parts (1,024 to 1,920 pixels wide), and crop next to weed.

The kit `scenes` next to a linear head on the frozen backbone, and next to its own head with points
that are decided again (`PointSegHead`). Class 0 is background. `index.csv`
says the splits: print3d by sequence of a print, cwfid by picture. Intervals draw those groups; in
cwfid there are four. The least IoU of a picture is a minimum: no resample can fall below it, so its
interval only says what lies above.

There are two splits only. So the epoch that is kept is chosen on the pictures that are judged, for
each model alike.
"""

import math

import pytest

from tests.benchmarks.task_runs import (
    LINEAR,
    SEEDS,
    check_cost,
    cost,
    gain,
    image_iou,
    keep,
    least_iou,
    mean_of,
    miou,
    runs_of,
)

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_large_pictures.py -k "
SETS = {
    "print3d": "masks={path}?where=set:print3d&classes=background,part&subtype=env",
    "cwfid": "masks={path}?where=set:cwfid&classes=soil,crop,weed",
}
RECIPES = {
    "print3d": {"epochs": 30, "baseline_epochs": 30, "patience": 10},
    "cwfid": {"tile": 648, "epochs": 24, "baseline_epochs": 24, "patience": 8},
}
"""What is changed in the kit's recipe: 42 and 14 pictures need more epochs for their 300 to 500
steps, and the plants, small in their pictures, are learned in windows of half their width."""
MEASURES = {"miou": miou, "image_iou": image_iou, "least_iou": least_iou}
GAINS = ("miou", "image_iou")


@pytest.mark.parametrize("name", sorted(SETS))
def test_outlines_in_large_pictures(name, shared, runs, record, record_figure):
    source = SETS[name].format(path=shared / "data" / "hires_seg")
    ours, facts = runs_of(runs, name, "scenes", source, changes=("background",), **RECIPES[name])
    floor, floor_facts = runs_of(
        runs,
        f"{name}-linear",
        "scenes",
        source,
        changes=("background", "linear"),
        **{**RECIPES[name], **LINEAR},
    )
    models = {
        "kit": [kit for kit, _ in ours],
        "frozen": [frozen for _, frozen in ours],
        "linear": [linear for linear, _ in floor],
    }
    values = values_of(models)
    pairs = list(zip(models["kit"], models["linear"], strict=True))
    over_linear = gain(pairs, miou, by_group=True)
    figures = {
        **values,
        "gain_over_linear": over_linear,
        "images": [by_image(kit) for kit, _ in ours],
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": {"kit": facts, "linear": floor_facts},
    }
    record(f"hires_{name}", figures)
    command = f'{COMMAND}"{name}"'
    for key in MEASURES:
        keep(record_figure, f"{name}.{key}", values["kit"][key], command=command)
    keep(record_figure, f"{name}.gain_over_linear", over_linear, command=command)
    check_cost(figures["cost"], cost(floor_facts))


@pytest.mark.parametrize("name", sorted(SETS))
def test_points_of_large_pictures(name, shared, runs, record):
    source = SETS[name].format(path=shared / "data" / "hires_seg")
    plain, facts = runs_of(runs, name, "scenes", source, changes=("background",), **RECIPES[name])
    refined, refined_facts = runs_of(
        runs,
        f"{name}-points",
        "scenes",
        source,
        changes=("background", "points"),
        **RECIPES[name],
    )
    pairs = [(ours, other) for (ours, _), (other, _) in zip(refined, plain, strict=True)]
    models = {"points": [ours for ours, _ in pairs], "coarse": [other for _, other in pairs]}
    figures = {
        **values_of(models),
        "gain": {key: gain(pairs, MEASURES[key], by_group=True) for key in GAINS},
        "cost": {"points": cost(refined_facts), "coarse": cost(facts)},
        "seeds": SEEDS,
    }
    record(f"points_{name}", figures)


def values_of(models):
    return {
        model: {key: mean_of(own, measure, by_group=True) for key, measure in MEASURES.items()}
        for model, own in models.items()
    }


def by_image(tally):
    """The foreground IoU of each picture; None if there is no foreground in truth and answer."""
    values = tally.image_iou_N.tolist()
    return {
        name: None if math.isnan(value) else value
        for name, value in zip(tally.ids, values, strict=True)
    }
