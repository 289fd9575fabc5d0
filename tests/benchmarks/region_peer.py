"""Defects outlined by a threshold on maps: `python -m tests.benchmarks.region_peer ASKED FOLDER`.

The industrial kit learns from the good pictures of the training split only. Where its map reaches
a threshold, each connected region is a found object, whose score is the highest value in it. The
threshold is the one of `LEVELS` with the best AP50 on the validation split. A region has no type,
so each is given the true type of its picture, and that of most defects on a good one: with types
of its own this peer could only be worse.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from moekit import Registry, Runtime
from moekit.data import read_size
from moekit.jobs.adapt import open_fabric
from moekit.jobs.session import open_backbone
from moekit.plugins.changes import KitChanges
from moekit.plugins.resolve import kit_for_data, resolve
from moekit.runs.run import Run
from moekit.training.adapt import AdaptJob, adapt
from moekit_detection.instances.regions import regions_of
from moekit_detection.instances.tally import Judged, tally_of
from moekit_detection.instances.truth import instances_of
from moekit_detection.judging.average import figures_of, mean_of
from moekit_detection.masks.runs import counts_of
from moekit_detection.records import Objects

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
MOST = 100


def good_of(dataset, dealt):
    """The set in the splits of `dealt`, with the good pictures only to learn from."""
    split = {sample.id: sample.split for sample in dealt.samples}
    samples = [
        dataclasses.replace(sample, split=split[sample.id])
        for sample in dataset.samples
        if sample.id in split and (split[sample.id] == "test" or sample.label == 0)
    ]
    return dataclasses.replace(dataset, samples=tuple(samples))


def maps_of(runtime, kit, samples):
    """(H, W) of each picture, in [0, 1]."""
    answers = runtime.answer([sample.path for sample in samples], kit=kit)
    found = []
    for sample, answer in zip(samples, answers, strict=True):
        height, width = read_size(sample.path)
        picture = Image.fromarray(answer.map_hw.astype(np.float32))
        found.append(np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)))
    return found


def objects_in(map_HW, level, label):
    """The regions of a map, the best first."""
    masks = regions_of(map_HW >= level)
    scores = [map_HW[_pixels(masks, place)].max() for place in range(len(masks))]
    order = np.argsort(scores)[::-1][:MOST]
    kept = masks.take(order)
    return Objects.of(
        kept.box_G4, [label] * len(order), score_G=np.asarray(scores)[order], masks=kept
    )


def _pixels(masks, place):
    (top, left), pixels = masks.crop(place)
    rows, columns = np.nonzero(pixels)
    return rows + top, columns + left


def main(asked, folder):
    registry, seed = Registry(), asked["seed"]
    dataset = registry.load_dataset(asked["data"], seed=seed)
    choice = {"changes": KitChanges(), "seed": seed}
    outlines, dealt = kit_for_data(registry, "industrial", dataset, task="instances", **choice)
    good, data = kit_for_data(registry, "industrial", good_of(dataset, dealt), task=None, **choice)
    assert data.negatives_only
    run = Run(folder / "good")
    backbone, worked = open_backbone(device="cpu", weights="auto"), time.process_time()
    adapt(
        AdaptJob(kit=good, dataset=data, run=run, seed=seed, recipe=good.recipe),
        fabric=open_fabric("cpu", 1, good.recipe.precision),
        backbone=backbone,
        registry=registry,
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )
    used = time.process_time() - worked
    runtime = Runtime(backbone)
    kit = runtime.load(run)
    commonest, _ = collections.Counter(
        label for sample in dealt.split("train") for label in sample.labels
    ).most_common(1)[0]

    def found(samples, maps, level):
        return [
            objects_in(map_HW, level, sample.labels[0] if sample.labels else commonest)
            for sample, map_HW in zip(samples, maps, strict=True)
        ]

    samples = dealt.split("val")
    maps = maps_of(runtime, kit, samples)
    context = resolve(outlines, registry).context(classes=dealt.classes, frame=None)
    by_level = {}
    for level in LEVELS:
        pairs = zip(found(samples, maps, level), samples, strict=True)
        tally = tally_of(samples, context, [Judged.of(one, instances_of(of)) for one, of in pairs])
        by_level[level] = mean_of(figures_of(tally.matches, tally.weights_I).ap50_AC[0])
    level = max(by_level, key=by_level.get)
    samples = dealt.split(asked["split"])
    results = [
        {
            "image_id": sample.id,
            "category_id": int(label) + 1,
            "score": float(score),
            "segmentation": {
                "size": list(objects.masks.size),
                "counts": counts_of(objects.masks.runs(place), objects.masks.size),
            },
        }
        for sample, objects in zip(
            samples, found(samples, maps_of(runtime, kit, samples), level), strict=True
        )
        for place, (label, score) in enumerate(zip(objects.label_G, objects.score_G, strict=True))
    ]
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    facts = {"level": level, "validation_ap50": by_level, "processor_s": used}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
