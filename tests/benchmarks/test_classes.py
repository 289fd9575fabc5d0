"""Many classes from few pictures: the kit next to the same head on the frozen backbone.

A gain is in points of top-1, with the interval of a paired bootstrap over validation images: on
each resample the gains of the seeds are averaged. `task_runs` says how seeds and runs are chosen.
Beside them stands a linear head on the features of a frozen EfficientNet-Lite0: see `lite0_head`.
"""

import pytest
import torch

from moekit.data import Preprocess
from moekit.runs import Run
from tests.benchmarks.lite0 import MEAN, STD, lite0, need_lite0
from tests.benchmarks.lite0_head import answer_classes
from tests.benchmarks.task_runs import (
    CLASSES,
    SEEDS,
    check_cost,
    cost,
    gain,
    keep,
    mean_of,
    runs_of,
    top1,
)

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_classes.py -k "


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_beat_the_same_head_on_the_frozen_backbone(
    name, shared, runs, record, record_figure
):
    pairs, facts = made(name, shared, runs)
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


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_beside_a_convolutional_network(name, shared, runs, record, record_figure):
    need_lite0()
    pairs, _ = made(name, shared, runs)
    network, peers = lite0(), []
    for seed in SEEDS:
        request = Run(runs / f"{name}-{seed}").read()["request"]
        peers.append(answer_classes(network, _source(name, shared), request, runs / "lite0"))
    ours = [kit for kit, _ in pairs]
    over_peer = gain(list(zip(ours, peers, strict=True)), top1)
    figures = {
        "gain_over_efficientnet": over_peer,
        "top1": mean_of(ours, top1),
        "top1_frozen": mean_of([frozen for _, frozen in pairs], top1),
        "top1_efficientnet": mean_of(peers, top1),
        "seeds": SEEDS,
    }
    record(f"{name}_efficientnet", figures)
    command = f'{COMMAND}"convolutional and {name}"'
    keep(record_figure, f"{name}.gain_over_efficientnet", over_peer, command=command)


def test_the_weights_of_the_peer_name_photographs(shared):
    """The photographs bear the number of their ImageNet class; a wrong tensor would spoil all."""
    paths = sorted((shared / "data" / "photos_1k").glob("*.jpg"))[::20]
    read = Preprocess(size=224, mean=MEAN, std=STD)
    with torch.inference_mode():
        said = lite0()(torch.stack([read(path) for path in paths])).argmax(1)
    right = [number == int(path.stem) for number, path in zip(said.tolist(), paths, strict=True)]
    assert sum(right) > 0.6 * len(right)


def made(name, shared, runs):
    return runs_of(runs, name, "finegrained", _source(name, shared), **CLASSES[name])


def _source(name, shared):
    return f"{name}={shared / 'data' / name}"
