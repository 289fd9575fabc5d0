"""Boxes around objects: the kit `detection` next to plain queries, and next to FCOS of torchvision.

The same head with plain learned queries on the frozen backbone is the kit's own baseline. FCOS is
trained on the same pictures for as long as `adapt` took with the same seed, and judged by the same
code (`moekit evaluate --from`). The split `val` of a set is the test split; a split by which epochs
are chosen is made from `train`, whole boards together. Intervals draw pictures, in all models and
seeds alike. `ap_small` is that of objects below 32 x 32 pixels.
"""

import pytest

from moekit_detection.judging.average import figures_of
from moekit_detection.judging.average import mean_of as mean_of_classes
from tests.benchmarks import lite0
from tests.benchmarks.task_runs import (
    SEEDS,
    TINY,
    check_cost,
    child,
    cost,
    gain,
    judged,
    keep,
    mean_of,
    ratio,
    runs_of,
    share,
    whole_seconds,
)

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_objects.py -k "
SETS = {"deeppcb": "coco={path}?test=val", "bccd": "coco={path}?test=val"}
MOST_MINUTES = 40.0


def ap(tally, rows):
    """Mean average precision over IoU 0.5 to 0.95, in percent."""
    return 100 * mean_of_classes(_figures(tally, rows).ap_AC[0])


def ap50(tally, rows):
    """At IoU 0.5, in percent."""
    return 100 * mean_of_classes(_figures(tally, rows).ap50_AC[0])


def ap_small(tally, rows):
    """As `ap`, of objects below 32 x 32 pixels."""
    return 100 * mean_of_classes(_figures(tally, rows).ap_AC[1])


MEASURES = {"ap": ap, "ap50": ap50, "ap_small": ap_small}


def _figures(tally, rows):
    drawn = tally.take(rows)
    return figures_of(drawn.matches, drawn.weights_I)


@pytest.mark.parametrize("name", sorted(SETS))
def test_boxes_beside_plain_queries(name, shared, runs, record, record_figure):
    found, facts = made(name, shared, runs)
    models = {"kit": [ours for ours, _ in found], "plain": [plain for _, plain in found]}
    values = {
        model: {key: mean_of(own, measure) for key, measure in MEASURES.items()}
        for model, own in models.items()
    }
    small = ratio(found, ap_small)
    figures = {
        **values,
        "gain": {key: gain(found, measure) for key, measure in MEASURES.items()},
        "ap_small_ratio": small,
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": facts,
    }
    record(f"objects_{name}", figures)
    command = f'{COMMAND}"plain and {name}"'
    keep(record_figure, f"{name}.ap50", share(values["kit"]["ap50"]), command=command)
    keep(record_figure, f"{name}.ap_s_ratio", small, command=command)
    check_cost(figures["cost"], minutes=MOST_MINUTES)


@pytest.mark.parametrize("name", sorted(SETS))
def test_boxes_beside_a_convolutional_detector(name, shared, runs, record):
    lite0.need_lite0()
    found, facts = made(name, shared, runs)
    theirs, peer_facts = [], []
    for seed, seconds in zip(SEEDS, whole_seconds(facts), strict=True):
        folder, data = runs / f"{name}-fcos-{seed}", _source(name, shared)
        asked = {"data": data, "seed": seed, "split": "test", "seconds": 30 if TINY else seconds}
        peer_facts.append(child("detector_peer", asked, folder))
        kept = runs / f"{name}-{seed}"
        theirs.append(judged("detection", data, kept, folder / "results.json", split="test"))
    pairs = [(ours, peer) for (ours, _), peer in zip(found, theirs, strict=True)]
    figures = {
        "kit": {key: mean_of([ours for ours, _ in found], one) for key, one in MEASURES.items()},
        "fcos": {key: mean_of(theirs, one) for key, one in MEASURES.items()},
        "gain_over_fcos": {key: gain(pairs, one) for key, one in MEASURES.items()},
        "seconds_allowed": whole_seconds(facts),
        "seeds": SEEDS,
        "peer": peer_facts,
    }
    record(f"objects_{name}_fcos", figures)


def made(name, shared, runs):
    return runs_of(runs, name, "detection", _source(name, shared), split="test")


def _source(name, shared):
    return SETS[name].format(path=shared / "data" / name)
