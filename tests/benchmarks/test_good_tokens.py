"""Good images only, with fewer tokens: AUROC next to all tokens, speed next to that and PatchCore.

Screws lie on a plain background, which is not computed. Magnetic tile fills its pictures; there
fewer tokens are those of a smaller picture. Features of screws are computed once for each way; they
are learned from three times, with other draws of the good images. Speed is processor time on one
thread in float32, all in turn in one process, with memories as large as those of runs. PatchCore
has as many members as it keeps by itself of the training split, a tenth of its patches: drawn
numbers, which decide how long a search takes and not what it finds.

With MOEKIT_BENCH_RUNS=FOLDER features are kept there and not computed again.
"""

import functools
import json
import math
import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moekit import Grid, HeadSite, Registry, build_backbone
from moekit.backbone import find_weights
from moekit.data import image_batches
from moekit.data.stream import Preprocess
from moekit.data.views import view, view_numbers
from moekit.jobs.adapt import chosen_recipe
from moekit.plugins.resolve import resolve
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor
from moekit.runtime.tokens import routing_of
from moekit.tasks.score.delong import delong_test
from moekit.tasks.score.metrics import auroc
from moekit_industrial.anomaly.head import MemoryHead, patch_features, worst
from moekit_industrial.anomaly.learning import CELLS, MemoryLearner
from moekit_industrial.anomaly.memory import Members
from moekit_industrial.bridge.models import build_model, find_class
from moekit_industrial.bridge.offline import offline
from moekit_industrial.bridge.scores import raw_output
from moekit_industrial.bridge.weights import shared_weights
from moekit_industrial.loaders.named import load_mvtec

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_good_tokens.py"
ARCHITECTURE = "vit_small_patch14_dinov2"
SEEDS, BATCH, ROUNDS, ALL = (0, 1, 2), 4, 5, {"token_share": 1.0}
FEW = {
    "mvtec_screw": ("background", {"token_gate": "background"}),
    "magnetic_tile": ("336 pixels", {"image_size": 336}),
}
"""What computes fewer tokens, by product: changes of the recipe."""
KEYS = {"mvtec_screw": "screw", "magnetic_tile": "magnetic_tile"}
MEMBERS = {
    ("mvtec_screw", "all"): 180_000,
    ("mvtec_screw", "background"): 180_000,
    ("magnetic_tile", "all"): 262_144,
    ("magnetic_tile", "336 pixels"): 262_144,
}
"""About as many as runs with two views of each image keep."""
TAUGHT = 16
"""Images whose members stand for all of them where only time is measured."""


@pytest.fixture(scope="module")
def world():
    torch.set_num_threads(1)
    registry = Registry()
    kit = resolve(registry.kit("industrial").negatives_only, registry).kit
    return registry, kit, build_backbone(architecture=ARCHITECTURE)


def ways(world, product):
    """The recipe of each way and its routing, which is None if all tokens are computed."""
    registry, kit, backbone = world
    modules = KitModules(spec=kit, registry=registry, backbone=backbone)
    name, fields = FEW[product]
    found = {}
    for way, changed in (("all", ALL), (name, fields)):
        recipe = chosen_recipe(kit.recipe, changed, registry)
        routing = routing_of(recipe, modules, registry, width=backbone.width)
        found[way] = recipe, routing
    return found


def pictures(world, samples, recipe):
    """Batches of normalised images."""
    backbone = world[2]
    preprocess = Preprocess.square(recipe.image_size, mean=backbone.mean, std=backbone.std)
    inputs = [(sample.id, sample.path) for sample in samples]
    for batch in image_batches(inputs, preprocess, batch_size=BATCH):
        yield batch.images


@torch.inference_mode()
def features(world, samples, way, path=None, *, number=0):
    """(n, P, F) float16 of one view of the samples."""
    if path is not None and path.is_file():
        return load_file(path)["x"]
    _, kit, backbone = world
    recipe, routing = way
    *earlier, last = kit.head_blocks
    parts = []
    for images in pictures(world, samples, recipe):
        images = view(images, number)
        x_BND, grid = backbone.embed(images)
        x_BND, kept, _ = backbone.run_routed(
            x_BND, grid, images, tokens=routing, stop=last + 1, keep=earlier
        )
        tokens = [*(kept[block] for block in earlier), x_BND]
        parts.append(patch_features(tokens, grid).half())
    x_BPF = torch.cat(parts)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": x_BPF}, path)
    return x_BPF


class Held:
    """Features in memory, as `Patches`; one (n, P, F) a view."""

    def __init__(self, product, *of_views):
        first = of_views[0]
        self.of_views, self.products = of_views, (product,) * len(first)
        self.views = len(of_views)
        side = round(first.shape[1] ** 0.5)
        self.grid = Grid(side, side)

    def read(self, rows, view):
        return self.of_views[view][torch.as_tensor(rows)].float()


def learned(world, train, val, seed):
    _, kit, backbone = world
    head = MemoryHead(HeadSite(width=backbone.width, blocks=len(kit.head_blocks)))
    MemoryLearner(head, train, val, seed=seed).run()
    return head.eval()


def enlarged(head, members):
    """The head with that many members: its own again and again, each moved a little."""
    own_MC, draw = head.memory.bank_MC, torch.Generator().manual_seed(0)
    times = math.ceil(members / len(own_MC))
    bank_MC = own_MC.repeat(times, 1)[:members]
    bank_MC = bank_MC + 0.1 * own_MC.std() * torch.randn(bank_MC.shape, generator=draw)
    head.memory.fill([Members.of(bank_MC, cells=CELLS, generator=draw)])
    return head


@torch.inference_mode()
def scored(head, x_BPF):
    held = Held("", x_BPF)
    parts = []
    for rows in np.array_split(np.arange(len(x_BPF)), max(1, len(x_BPF) // 8)):
        product_B = torch.zeros(len(rows), dtype=torch.int64)
        parts.append(worst(head.distances(held.read(rows, 0), product_B, held.grid)))
    return torch.cat(parts).numpy()


def test_without_the_background_the_auroc_is_kept(world, shared, tmp_path, record, record_figure):
    product, turned = "mvtec_screw", view_numbers(2, "dihedral")[1]
    folder = Path(os.environ.get("MOEKIT_BENCH_RUNS") or tmp_path) / "good_tokens"
    source = shared / "data" / product
    first = load_mvtec(source, 0)
    good, test = (*first.split("train"), *first.split("val")), first.split("test")
    labels = np.array([sample.label for sample in test])
    places = {sample.id: place for place, sample in enumerate(good)}
    scores = {}
    for name, way in ways(world, product).items():
        of = {
            part: features(
                *(world, samples, way, folder / f"{product}-{name}-{part}.safetensors"),
                number=number,
            )
            for part, (samples, number) in {
                "good": (good, 0),
                "good-turned": (good, turned),
                "test": (test, 0),
            }.items()
        }
        scores[name] = []
        for seed in SEEDS:
            dataset = load_mvtec(source, seed)
            train, val = (
                [places[one.id] for one in dataset.split(split)] for split in ("train", "val")
            )
            head = learned(
                world,
                Held(product, of["good"][train], of["good-turned"][train]),
                Held(product, of["good"][val]),
                seed,
            )
            scores[name].append(scored(head, of["test"]))
    few = FEW[product][0]
    areas = {name: [auroc(one, labels) for one in found] for name, found in scores.items()}
    lost = [base - own for base, own in zip(areas["all"], areas[few], strict=True)]
    # Paired, on the mean of the three seeds' log scores.
    mean = {name: np.log(np.stack(found)).mean(0) for name, found in scores.items()}
    paired = delong_test(mean["all"], mean[few], labels)
    record(
        f"good_tokens_{product}",
        {
            "way": few,
            "n": len(labels),
            "good": len(good),
            "views": 2,
            "auroc": areas,
            "lost": lost,
            "paired": {"difference": paired.difference, "ci95": list(paired.ci95), "p": paired.p},
        },
    )
    record_figure(
        "screw.auroc_loss",
        statistics.mean(lost),
        command=f"{COMMAND} -k auroc_is_kept",
        ci95=paired.ci95,
        seeds=SEEDS,
        way=few,
        n=len(labels),
        note="image AUROC with all tokens less that with few; below 0 is a gain",
    )
    assert statistics.mean(lost) <= 0.02


def test_a_texture_at_336_pixels_keeps_the_auroc(record_figure):
    """Of the runs that test_anomaly.py made; they are not paired."""
    known = json.loads((Path(__file__).parent / "results" / "anomaly.json").read_text())
    assert known["smaller"]["image_size"] == FEW["magnetic_tile"][1]["image_size"]
    runs = known["products"]["magnetic_tile"]["0"], known["smaller"]["magnetic_tile"]
    whole, small = (run["metrics"]["kit"]["auroc"]["value"] for run in runs)
    record_figure(
        "magnetic_tile.auroc_loss",
        whole - small,
        command=f"{COMMAND} -k 336",
        seeds=(0,),
        way=FEW["magnetic_tile"][0],
        n=runs[0]["n"],
        note="image AUROC at 448 pixels less that at 336, both of test_anomaly.py; not paired",
    )
    assert whole - small <= 0.005


def patchcore(world, members):
    """PatchCore on the shared backbone with that many members, drawn."""
    with offline("Patchcore"), shared_weights(ARCHITECTURE, find_weights(ARCHITECTURE)):
        arguments = {
            "backbone": ARCHITECTURE,
            "layers": ["blocks.5", "blocks.8"],
            "coreset_sampling_ratio": 0.1,
        }
        size = world[1].recipe.image_size
        model = build_model(find_class("Patchcore"), arguments, image_size=size).eval()
    width = len(arguments["layers"]) * world[2].width
    draw = torch.Generator().manual_seed(0)
    model.model.memory_bank = torch.randn(members, width, generator=draw)
    return model


@pytest.mark.parametrize("product", list(FEW))
@torch.inference_mode()
def test_few_tokens_are_fast(product, world, shared, record, record_figure):
    registry, kit, backbone = world
    dataset = load_mvtec(shared / "data" / product, 0)
    good, test = dataset.split("train"), dataset.split("test")
    calls = {}
    for name, way in ways(world, product).items():
        train = Held(product, features(world, good[:TAUGHT], way))
        val = Held(product, features(world, good[TAUGHT : TAUGHT + BATCH], way))
        modules = KitModules(spec=kit, registry=registry, backbone=backbone)
        modules.head = enlarged(learned(world, train, val, 0), MEMBERS[product, name])
        predictor = Predictor(
            backbone=backbone,
            kit=modules,
            baseline=None,
            task=resolve(kit, registry).task,
            arithmetic="fp32",
            tokens=way[1],
        )
        images = next(pictures(world, test[:: len(test) // BATCH][:BATCH], way[0]))
        calls[name] = functools.partial(predictor, images)
    patches = (kit.recipe.image_size // backbone.patch) ** 2
    members = round(0.1 * len(dataset.split("train")) * patches)
    model = patchcore(world, members)
    images = next(pictures(world, test[:: len(test) // BATCH][:BATCH], kit.recipe))
    calls["patchcore"] = functools.partial(raw_output, model, images)
    times = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if number:
                times[name].append(time.process_time() - began)
    few = FEW[product][0]
    ratios = {
        other: statistics.quantiles(
            [b / a for a, b in zip(times[few], times[other], strict=True)], n=4
        )
        for other in ("all", "patchcore")
    }
    figures = {
        "product": product,
        "way": few,
        "members_of_patchcore": members,
        "images_per_s": {name: BATCH / statistics.median(own) for name, own in times.items()},
        "times_as_fast_quartiles": ratios,
    }
    record(f"good_tokens_speed_{product}", figures)
    about = {"command": f"{COMMAND} -k {product}", "seeds": (0,), "way": few, "threads": 1}
    note = "processor time, median of rounds in turn; the interval is the quartiles"
    for key, other in (("over_patchcore", "patchcore"), ("over_before", "all")):
        if (product, key) != ("magnetic_tile", "over_before"):
            low, middle, high = ratios[other]
            record_figure(f"{KEYS[product]}.{key}", middle, ci95=(low, high), note=note, **about)
