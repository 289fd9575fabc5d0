"""Kits whose specialists lie in several places: trained alike, and answered in one pass."""

import torch

from moekit import Frame
from moekit.contract.answers import Item
from moekit.data.stream import Preprocess, image_batches
from moekit.jobs.adapt import open_fabric
from moekit.runtime.load import load_predictor
from moekit.runtime.together import compute_together
from moekit.training.adapt import AdaptJob, adapt

FROZEN = "frozen"


def trained(name, spec, run, *, backbone, registry, with_frozen=False, **job):
    """The record of a run, and its predictor by name; also that of the frozen backbone if asked.

    Args:
        name: Of the placement.
        spec: The kit.
        run: Where it is trained; one that is finished is not trained again.
        backbone: The shared backbone.
        registry: The installed plugins.
        with_frozen: Whether the baseline is wanted too.
        job: Data, seed and recipe, as of `AdaptJob`.
    """
    made = adapt(
        AdaptJob(kit=spec, run=run, resume=True, **job),
        backbone=backbone,
        registry=registry,
        fabric=open_fabric("cpu", 1, "fp32"),
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )
    how = {"backbone": backbone, "registry": registry, "with_baseline": False}
    predictors = {name: load_predictor(run, spec, **how)}
    if with_frozen:
        predictors[FROZEN] = load_predictor(run, spec, **how, model="baseline")
    return made, predictors


def answered(predictors, dataset, resolved, backbone, *, side):
    """The tallies of the test split, all placements in one pass over pictures of that side."""
    frame = Frame(height=side, width=side)
    reading = Preprocess(frame=frame, mean=backbone.mean, std=backbone.std)
    context = resolved.context(classes=dataset.classes, frame=frame)
    talliers = {name: resolved.task.judge.tallier(context, 1) for name in predictors}
    samples = dataset.split("test")
    inputs = [(sample.id, sample.path) for sample in samples]
    for batch in image_batches(inputs, reading, batch_size=16):
        failed = {}
        with torch.inference_mode():
            found = compute_together(predictors, batch.images, failed)
        assert not failed, failed
        items = [
            Item(id=samples[row].id, size=size, sample=samples[row])
            for row, size in zip(batch.rows, batch.sizes, strict=True)
        ]
        for name, computed in found.items():
            talliers[name].add(items, [computed.kit])
    return {name: one.finish()[0] for name, one in talliers.items()}
