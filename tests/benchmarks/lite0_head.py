"""The kit's head on pooled features of a frozen EfficientNet-Lite0, trained by moekit's own loop.

What moekit's baseline has, this has too: the same pictures and views, input size, dropout, label
smoothing, rates, epochs, seeds, moving average and choice of the epoch. Only the features differ:
the 1,280 numbers after the network's last pooling, in place of summaries of several blocks.

Shapes: B samples, V views, D width of the features.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import torch
from torch import nn

from moekit import HeadSite, Recipe, Registry
from moekit.contract.answers import Item
from moekit.contract.jobs import FitJob
from moekit.data import Preprocess
from moekit.data.stream import image_batches
from moekit.data.views import view, view_numbers
from moekit.jobs.adapt import open_fabric
from moekit.moe.specialists import Grid
from moekit.plugins.changes import KitChanges
from moekit.plugins.resolve import kit_for_data, resolve
from moekit.runtime.predictor import converted
from moekit.training.fit import fit, stored_outputs
from tests.benchmarks.lite0 import MEAN, STD

BATCH = 32
ONE = Grid(1, 1)


def answer_classes(network, source, request, folder):
    """The validation tally of a head that is trained as a run's baseline was.

    Args:
        network: From `lite0`.
        source: `LOADER=PATH`.
        request: Of the run: its recipe and its seed.
        folder: For checkpoints.
    """
    seed, recipe = request["seed"], Recipe.model_validate(request["recipe"])
    registry = Registry()
    dataset = registry.load_dataset(source, seed=seed)
    spec, dataset = kit_for_data(
        registry, request["kit"], dataset, task=None, changes=KitChanges(), seed=seed
    )
    resolved = resolve(spec, registry, frames=1)
    read = Preprocess(size=recipe.image_size, mean=MEAN, std=STD)
    train, val = (
        Features(network, tuple(dataset.split(split)), read, view_numbers(views, order))
        for split, views, order in (
            ("train", recipe.views, recipe.view_order),
            ("val", recipe.scoring_views, recipe.scoring_order),
        )
    )
    torch.manual_seed(seed)
    site = HeadSite(width=train.width, blocks=1, classes=len(dataset.classes))
    kit = PooledKit(functools.partial(spec.build_head, summaries=("class",))(site))
    fabric = open_fabric("cpu", 1, "fp32")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{dataset.name.replace(' ', '-')}-{seed}.safetensors"
    checkpoint.unlink(missing_ok=True)
    job = FitJob(
        part="baseline",
        kit=kit,
        backbone=None,
        fabric=fabric,
        train=train,
        val=val,
        task=resolved.task,
        recipe=recipe,
        epochs=recipe.baseline_epochs,
        seed=seed,
        checkpoint=checkpoint,
        on_epoch=lambda _: None,
    )
    fit(job)
    context = resolved.context(classes=dataset.classes, frame=read.frame)
    tallier = resolved.task.judge.tallier(context, 1)
    for rows, outputs in stored_outputs(
        kit, val, backbone=None, fabric=fabric, task=resolved.task, batch_size=recipe.batch_size
    ):
        samples = [val.samples[row] for row in rows]
        items = [Item(id=one.id, size=(1, 1), sample=one) for one in samples]
        tallier.add(items, [converted(outputs, resolved.task)])
    (tally,) = tallier.finish()
    return tally


class PooledKit(nn.Module):
    """A head without a backbone, as the training loop sees a kit.

    Args:
        head: Reads one token an image, which is the pooled features.
    """

    reads_picture = False

    def __init__(self, head):
        super().__init__()
        self.head = head
        self.sets = nn.ModuleDict()
        self.branches = {}

    def forward(self, backbone, x_B1D, kept, grid, **_how):
        return self.head([x_B1D], grid)


class Features:
    """Features of each view of some samples, as the training loop sees a stored prefix."""

    def __init__(self, network, samples, preprocess, numbers):
        self.samples = samples
        self.frame = preprocess.frame
        self.grid = ONE
        self.plan = SimpleNamespace(views=len(numbers), numbers=numbers, top_k=0)
        inputs = [(sample.id, sample.path) for sample in samples]
        parts = []
        with torch.inference_mode():
            for batch in image_batches(inputs, preprocess, batch_size=BATCH):
                assert not batch.skipped, batch.skipped
                seen = [_pooled(network, view(batch.images, number)) for number in numbers]
                parts.append(torch.stack(seen, dim=1))
        self._x_BVD = torch.cat(parts)
        self.width = self._x_BVD.shape[2]

    def __len__(self):
        return len(self.samples)

    @property
    def views(self):
        return self.plan.views

    def read(self, rows, views):
        """(B, 1, D) features of samples, each in the view at a place of the plan's order."""
        return self._x_BVD[torch.as_tensor(rows), torch.as_tensor(views)][:, None], {}


def _pooled(network, images):
    return network.forward_head(network.forward_features(images), pre_logits=True)
