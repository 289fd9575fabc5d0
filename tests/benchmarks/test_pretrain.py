"""Pretraining on unlabelled images: what a linear probe gains, next to the frozen backbone.

The probe is `moekit.pretraining.probe.linear_probe` on the class token next to the patch mean. They
are those behind the last block that the kit's head reads, with the final norm: the same blocks with
and without the specialists, the same images and the same labels. Its ridge comes from the training
images alone. A figure is in points: AUROC of two classes, accuracy of more, with the interval of a
paired bootstrap over the judged images, of whole groups if the data have them. The judged images
are no part of the pretraining, which `images.txt` proves, and nothing is chosen by them.

Inputs are small, since two slow cores must do: `SETS` names them. `MOEKIT_BENCH_RUNS=FOLDER` keeps
the pretrainings, and an unfinished one goes on. `MOEKIT_TINY=1` tries the code.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch

from moekit import Registry, Runtime
from moekit.data.content import Contents
from moekit.data.stream import Preprocess, image_batches
from moekit.jobs.pretrain import load_images, pretrain_kit
from moekit.jobs.session import open_backbone
from moekit.pretraining.probe import judged, linear_probe
from moekit.runs.pretrained import Pretrained
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_pretrain.py -k "
RESAMPLES = 2000
FOLDS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Set:
    """A data set, and how it is pretrained on.

    Attributes:
        kit: Whose specialists.
        data: As of `--data`; `{shared}` is the folder of data.
        image_size: Side of the input, in pixels.
        judged: The split that is judged. `folds` judges the test split by five folds of whole
            groups, where training has one class only.
        recipe: Fields of the pretraining's recipe.
        labelled: Most images that the probe learns from, evenly spread over the training split.
    """

    kit: str
    data: str
    image_size: int
    judged: str = "test"
    recipe: dict = dataclasses.field(default_factory=dict)
    labelled: int = 1000


COMMON = {
    "limit": 1600,
    "epochs": 1,
    "batch_size": 32,
    "crops": 2,
    "views": 2,
    "probes": 1,
    "probe_images": 64,
}
"""What two slow cores that others use allow: 50 steps."""
SETS = {
    "elpv": Set(kit="industrial", data="elpv", image_size=112),
    "luna16": Set(
        kit="medical",
        data="candidates={shared}/data/luna16_candidates",
        image_size=56,
    ),
    "magnetic_tile": Set(
        kit="industrial", data="mvtec={shared}/data/magnetic_tile", image_size=112, judged="folds"
    ),
    "cifar100": Set(
        kit="finegrained", data="cifar100={shared}/data/cifar100", image_size=56, judged="val"
    ),
}


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_linear_probe_gains_by_pretraining(name, shared, runs, record, record_figure):
    one = SETS[name]
    data = one.data.format(shared=shared)
    out = Pretrained(runs / f"pretrain-{name}")
    made = pretrain_kit(
        one.kit,
        data=data,
        out=out.folder,
        recipe={**COMMON, **one.recipe, "image_size": one.image_size, **_tiny()},
        resume=out.is_there,
        on_progress=lambda *_: None,
        on_figures=lambda _: None,
    )
    dataset = load_images(Registry(), data, kit=Registry().kit(one.kit), seed=0, licence=None)
    split = "test" if one.judged == "folds" else one.judged
    asked = list(dataset.split(split))[: 60 if TINY else None]
    learned = [] if one.judged == "folds" else spread(dataset.split("train"), one.labelled)
    contents = Contents()
    assert not {contents.of(sample.path) for sample in asked} & out.images()
    found = features([*learned, *asked], one, out)
    labels = np.asarray([sample.label for sample in (*learned, *asked)])
    groups = np.asarray([sample.group or sample.id for sample in asked])
    figures = {}
    for share in (1.0, 0.1) if learned else (1.0,):
        rows = chosen(labels[: len(learned)], share)
        scores = [
            in_folds(x_ND, labels, groups)
            if not learned
            else linear_probe(x_ND[rows], labels[rows], x_ND[len(learned) :])
            for x_ND in found
        ]
        figures[f"{share:.0%} of labels"] = gain(scores, labels[len(learned) :], groups)
    whole = figures["100% of labels"]
    record(
        f"pretrain_{name}",
        {
            "set": dataclasses.asdict(one),
            "figures": figures,
            "n": len(asked),
            "n_learned": len(learned),
            "pretraining": {
                key: made[key] for key in ("images", "parameters", "seconds", "curves", "request")
            },
        },
    )
    record_figure(
        f"pretrain.{name}.probe_gain",
        whole["gain"],
        command=f"{COMMAND}{name}",
        ci95=whole["ci95"],
        seeds=(0,),
        probe_frozen=whole["frozen"],
        probe_pretrained=whole["pretrained"],
        n=len(asked),
        image_size=one.image_size,
    )


@torch.inference_mode()
def features(samples, one, pretrained):
    """(N, 2 D) of the frozen backbone, and with the pretrained specialists."""
    backbone = open_backbone(device="auto", weights="auto")
    kit = Runtime(backbone).attach(one.kit)
    pretrained.load(kit.sets)
    stop = max(kit.head_blocks[-1], *kit.branches) + 1
    preprocess = Preprocess(size=one.image_size, mean=backbone.mean, std=backbone.std)
    inputs = [(sample.id, sample.path) for sample in samples]
    found = [[], []]
    for batch in image_batches(inputs, preprocess, batch_size=32):
        assert not batch.skipped
        tokens, grid = backbone.embed(batch.images)
        tokens, _ = backbone.run_blocks(tokens, grid, stop=kit.prefix_end)
        for branches, kept in zip(({}, kit.branches), found, strict=True):
            last, _ = backbone.run_blocks(
                tokens, grid, start=kit.prefix_end, stop=stop, branches=branches
            )
            last = backbone.stem.norm(last)
            kept.append(torch.cat([last[:, 0], last[:, -grid.patches :].mean(1)], dim=1))
    return [torch.cat(kept).float().numpy() for kept in found]


def spread(samples, most):
    """Samples at equal distances."""
    count = min(60 if TINY else most, len(samples))
    return [samples[place * len(samples) // count] for place in range(count)]


def chosen(labels, share):
    """Rows with a share of each class, one at least; the first ones in an order by seed 0."""
    order = np.random.default_rng(0).permutation(len(labels))
    rows = [
        order[labels[order] == label][: max(1, math.ceil(share * (labels == label).sum()))]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(rows)) if rows else np.empty(0, int)


def in_folds(x_ND, labels, groups):
    """Scores of each row by a probe that was fitted to the other folds; groups stay whole."""
    names = np.random.default_rng(0).permutation(np.unique(groups))
    fold_of = {name: place % FOLDS for place, name in enumerate(names)}
    fold_N = np.asarray([fold_of[name] for name in groups])
    scores = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in range(FOLDS):
        out = fold_N == fold
        scores[out] = linear_probe(x_ND[~out], labels[~out], x_ND[out])
    return scores


def gain(scores, labels, groups):
    """Frozen and pretrained figures and their difference in points, with its interval."""
    frozen, pretrained = (100 * judged(one, labels) for one in scores)
    rows_of = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    generator, drawn = np.random.default_rng(0), []
    while len(drawn) < (20 if TINY else RESAMPLES):
        places = generator.integers(len(rows_of), size=len(rows_of))
        rows = np.concatenate([rows_of[place] for place in places])
        low, high = (100 * judged(one[rows], labels[rows]) for one in scores)
        if np.isfinite(high - low):
            drawn.append(high - low)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "frozen": frozen,
        "pretrained": pretrained,
        "gain": pretrained - frozen,
        "ci95": [float(low), float(high)],
    }


def _tiny():
    return {"epochs": 1, "image_size": 28, "probe_images": 32} if TINY else {}
