"""A picture without a named kit: is it sent to the right one, and is a foreign picture refused?

Twelve domains have a kit each. A test picture is sent to the nearest kit, and refused beyond its
limit, which 5% of the kit's validation pictures exceed. Foreign are the pictures of each domain in
turn with its kit left out, and those of two domains that have none. The same Gaussian on colours
and greys says what the looks of the sets give away without a network.

`MOEKIT_BENCH_RUNS=FOLDER` keeps the features; `tests.benchmarks.selector_features` makes them in
several processes.
"""

import numpy as np
import pytest
from scipy.stats import binomtest

from moekit.runtime.select.domain import Domain, features_of
from tests.benchmarks.selector_features import BLOCKS, SIDE, features_of_domain
from tests.benchmarks.selector_sets import MOST, NO_KIT, domains
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_selector.py"
BLOCK = 7
"""After which the industrial kit's specialists begin."""


def read(known, split, block):
    if block is None:
        return known[f"{split} colours"]
    return features_of(known[f"{split} cells"][:, BLOCKS.index(block)])


def share(hits):
    interval = binomtest(int(sum(hits)), len(hits)).proportion_ci(method="wilson")
    return {
        "value": round(float(np.mean(hits)), 4),
        "ci95": [round(float(one), 4) for one in interval],
        "n": len(hits),
    }


def judged(known, block):
    """Figures over all domains, and of each, by features after a block; of colours if None."""
    names = [name for name in known if name not in NO_KIT]
    fitted = {
        name: Domain.fit(*(read(known[name], split, block) for split in ("train", "val")), block=0)
        for name in names
    }
    right, sent, beyond, wrong, foreign, each = [], [], [], [], [], {}
    for name, one in known.items():
        scores = {kit: fitted[kit].scores(read(one, "test", block)) for kit in names}
        others = np.min([scores[kit] for kit in names if kit != name], axis=0)
        foreign += list(others > 1)
        each[name] = {"n": len(others), "refused_without_its_kit": float(np.mean(others > 1))}
        if name in names:
            own = scores[name]
            right += list(own < others)
            sent += list((own < others) & (own <= 1))
            beyond += list(own > 1)
            wrong += list((others <= own) & (others <= 1))
            each[name] |= {
                "nearest": float(np.mean(own < others)),
                "beyond_its_own_limit": float(np.mean(own > 1)),
                "train": fitted[name].train,
                "val": fitted[name].val,
            }
    figures = {
        "accuracy": share(right),
        "sent_to_the_right_kit": share(sent),
        "sent_to_a_wrong_kit": share(wrong),
        "beyond_its_own_limit": share(beyond),
        "refused": share(foreign),
        "refused_mean_of_domains": float(
            np.mean([one["refused_without_its_kit"] for one in each.values()])
        ),
    }
    return figures, each


def test_pictures_go_to_their_kit_and_foreign_ones_to_none(shared, runs, record, record_figure):
    known = {
        name: features_of_domain(name, sides, runs / "selector")
        for name, sides in domains(shared).items()
    }
    figures, each = judged(known, BLOCK)
    colours, each_colours = judged(known, None)
    record(
        "selector",
        {
            "image_size": SIDE,
            "block": BLOCK,
            "most_pictures": MOST,
            **figures,
            "domains": each,
            "other_blocks": {block: judged(known, block)[0] for block in BLOCKS if block != BLOCK},
            "colours_and_greys": {**colours, "domains": each_colours},
        },
    )
    about = {"command": COMMAND, "n_domains": len(each) - len(NO_KIT)}
    for key in ("accuracy", "refused"):
        entry, floor = figures[key], colours[key]
        record_figure(f"selector.{key}", entry["value"], ci95=entry["ci95"], **about)
        record_figure(f"selector.{key}_of_colours", floor["value"], ci95=floor["ci95"], **about)
    false = figures["beyond_its_own_limit"]
    record_figure("selector.false_refusals", false["value"], ci95=false["ci95"], **about)
    if not TINY:
        assert figures["accuracy"]["value"] >= 0.98
        assert figures["refused"]["value"] >= 0.95
