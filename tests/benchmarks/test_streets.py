"""Outlines in street scenes (CamVid): the kit next to a linear head, a plainer head and a U-Net.

A gain is in points of mIoU, with the interval of a paired bootstrap over validation frames: on
each resample the gains of the seeds are averaged. `task_runs` says how seeds and runs are chosen.
The U-Net is trained on the same frames for as long as `adapt` took with the same seed, and what it
draws is judged as `moekit evaluate --from` does.
"""

import pytest

from tests.benchmarks import lite0
from tests.benchmarks.task_runs import (
    CAMVID,
    LINEAR,
    SEEDS,
    check_cost,
    child,
    cost,
    gain,
    judged,
    keep,
    mean_of,
    miou,
    runs_of,
    whole_seconds,
)

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_streets.py -k "


@pytest.fixture(scope="module")
def data(shared):
    return CAMVID.format(path=shared / "data" / "camvid")


def made(runs, data, name, **how):
    return runs_of(runs, f"camvid-{name}", "scenes", data, **how)


def test_the_kit_beside_a_linear_head(data, runs, record, record_figure):
    ours, facts = made(runs, data, "kit")
    floor, floor_facts = made(runs, data, "linear", changes=("linear",), **LINEAR)
    over_linear = gain(_pairs(ours, floor), miou)
    figures = {
        "miou": mean_of([kit for kit, _ in ours], miou),
        "miou_frozen": mean_of([frozen for _, frozen in ours], miou),
        "miou_linear": mean_of([linear for linear, _ in floor], miou),
        "gain_over_linear": over_linear,
        "gain_of_specialists": gain(ours, miou),
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": {"kit": facts, "linear": floor_facts},
    }
    record("camvid_linear", figures)
    keep(record_figure, "camvid.gain_over_linear", over_linear, command=f"{COMMAND}linear")
    check_cost(figures["cost"], cost(floor_facts))


def test_attention_beside_concatenation(data, runs, record, record_figure):
    """The same depths and as many parameters: with specialists, and on the frozen backbone."""
    ours, _ = made(runs, data, "kit")
    plain, facts = made(runs, data, "concatenation", changes=("concatenation",))
    over_plain = gain(_pairs(ours, plain), miou)
    frozen = [(attention, other) for (_, attention), (_, other) in zip(ours, plain, strict=True)]
    figures = {
        "gain_of_cross_layer": over_plain,
        "gain_of_cross_layer_frozen": gain(frozen, miou),
        "miou_concatenation": mean_of([kit for kit, _ in plain], miou),
        "cost": cost(facts),
        "seeds": SEEDS,
        "runs": facts,
    }
    record("camvid_fusion", figures)
    keep(record_figure, "camvid.gain_of_cross_layer", over_plain, command=f"{COMMAND}attention")
    check_cost(figures["cost"])


def _pairs(ours, theirs):
    """The kits' tallies of two lists of runs, seed by seed."""
    return [(kit, other) for (kit, _), (other, _) in zip(ours, theirs, strict=True)]


def test_the_kit_beside_a_unet(data, runs, record, record_figure):
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
        theirs.append(judged("scenes", data, kept, folder / "unet", split="val"))
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
