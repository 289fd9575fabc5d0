"""Outlines in street scenes (CamVid): the kit next to a linear head, a plainer head and a U-Net.

A gain is in points of mIoU, with the interval of a paired bootstrap over validation frames: on
each resample the gains of the seeds are averaged. `task_runs` says how seeds and runs are chosen.
The U-Net is trained on the same frames for as long as `adapt` took with the same seed, and what it
draws is judged as `moekit evaluate --from` does.
"""

import pytest

from moekit.jobs.evaluate import evaluate_run
from moekit.tasks.segment import SEGMENT
from tests.benchmarks import lite0
from tests.benchmarks.task_runs import (
    CAMVID,
    LINEAR,
    SEEDS,
    check_cost,
    child,
    cost,
    gain,
    keep,
    mean_of,
    miou,
    run,
    whole_seconds,
)

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_streets.py -k "


@pytest.fixture(scope="module")
def data(shared):
    return CAMVID.format(path=shared / "data" / "camvid")


def made(runs, data, name, *, changes=(), **recipe):
    """The tallies and the facts of a run for each seed."""
    found = [
        run(runs / f"camvid-{name}-{seed}", "scenes", data, seed=seed, changes=changes, **recipe)
        for seed in SEEDS
    ]
    return [tallies for tallies, _ in found], [facts for _, facts in found]


def test_outlines_of_streets(data, runs, record, record_figure):
    ours, facts = made(runs, data, "kit")
    plain, plain_facts = made(runs, data, "concatenation", changes=("concatenation",))
    floor, floor_facts = made(runs, data, "linear", changes=("linear",), **LINEAR)
    kit = [tallies[0] for tallies in ours]
    over_linear = gain(list(zip(kit, [tallies[0] for tallies in floor], strict=True)), miou)
    over_plain = gain(list(zip(kit, [tallies[0] for tallies in plain], strict=True)), miou)
    figures = {
        "miou": mean_of(kit, miou),
        "gain_over_linear": over_linear,
        "gain_of_cross_layer": over_plain,
        "gain_of_specialists": gain(ours, miou),
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": {"kit": facts, "concatenation": plain_facts, "linear": floor_facts},
    }
    record("camvid", figures)
    command = f'{COMMAND}"outlines_of_streets and not unet"'
    keep(record_figure, "camvid.gain_over_linear", over_linear, command=command)
    keep(record_figure, "camvid.gain_of_cross_layer", over_plain, command=command)
    check_cost(figures["cost"], cost(plain_facts), cost(floor_facts))


def test_outlines_of_streets_beside_a_unet(data, runs, record, record_figure):
    pytest.importorskip(
        "segmentation_models_pytorch",
        reason=f"{lite0.INSTALL} segmentation-models-pytorch",
    )
    lite0.need_lite0()
    ours, facts = made(runs, data, "kit")
    theirs, peer_facts = [], []
    for seed, seconds in zip(SEEDS, whole_seconds(facts), strict=True):
        folder = runs / f"camvid-unet-{seed}"
        asked = {"data": data, "seed": seed, "seconds": seconds}
        peer_facts.append(child("unet_peer", asked, folder))
        kept = runs / f"camvid-kit-{seed}"
        evaluate_run(
            "scenes",
            data=data,
            run_folder=kept,
            split="val",
            given=folder / "unet",
            on_progress=lambda *_: None,
        )
        (tally,) = SEGMENT.judge.load(kept / "given" / "unet", "predictions")
        theirs.append(tally)
    over_unet = gain([(tallies[0], peer) for tallies, peer in zip(ours, theirs, strict=True)], miou)
    figures = {
        "gain_over_unet": over_unet,
        "miou": mean_of([tallies[0] for tallies in ours], miou),
        "unet_miou": mean_of(theirs, miou),
        "seconds_allowed": whole_seconds(facts),
        "seeds": SEEDS,
        "unet": peer_facts,
        "kit": facts,
    }
    record("camvid_unet", figures)
    keep(record_figure, "camvid.gain_over_unet", over_unet, command=f'{COMMAND}"unet"')
