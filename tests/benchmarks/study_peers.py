"""Full fine-tuning and LoRA of the backbone with a kit's head, and a small network of its own.

The network is EfficientNet-Lite0 with its ImageNet weights and the kit's head on pooled features,
all of it trained but the statistics of batch normalisation.

LoRA (Hu et al. 2021, arXiv:2106.09685) is that of `peft`, in every linear layer of the blocks that
the head depends on, of the rank with about as many parameters as the kit's specialists.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch
from timm.data import resolve_model_data_config
from torch import nn

from moekit.backbone.build import build_dense, create_dense
from moekit.backbone.sources import DEFAULT_ARCHITECTURE, find_weights
from moekit.data.stream import Preprocess
from moekit.data.views import view
from moekit.tasks.score import auroc
from moekit.tasks.score.predictions import Predictions
from tests.benchmarks.dedicated import Dedicated
from tests.benchmarks.dense import Dense
from tests.benchmarks.lite0 import MEAN, STD

HEAD_RATE, DECAY = 1e-3, 0.05
RATES = {"full": 3e-5, "lora": 5e-4, "network": 3e-4}
LAYERS = ("qkv", "proj", "fc1", "fc2")
LOOKS = 5
"""How often the validation split is answered; the best of these states is kept."""


class Network(Dedicated):
    """The small network, to train as a whole."""

    def train(self, mode=True):
        """Batch normalisation keeps its statistics: a few pictures are too few for new ones."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images):
        """(B, 3, H, W) to the head's logits (B,)."""
        return self.outputs(images)["logit_B"].float()


def built(method, spec, parameters):
    """A peer before its training, and how it reads files of a side."""
    if method == "network":
        network = Network()
        network.network.classifier.requires_grad_(False)  # not read: the head is the kit's
        return network, functools.partial(Preprocess, mean=MEAN, std=STD)
    model = Dense(build_dense(DEFAULT_ARCHITECTURE, find_weights(DEFAULT_ARCHITECTURE)), spec)
    model.leave_out_the_rest()
    if method == "lora":
        adapt_low_rank(model, parameters)
    config = resolve_model_data_config(create_dense(DEFAULT_ARCHITECTURE))
    return model, functools.partial(Preprocess, mean=config["mean"], std=config["std"])


def trained_peer(method, spec, splits, *, parameters, side, steps, batch, seed):
    """The test tally of a peer, and how many parameters it trained besides the head's.

    Args:
        method: `full`, `lora` or `network`.
        spec: The kit.
        splits: Samples of train, val and test by name.
        parameters: Of the kit's specialists, which LoRA's rank follows.
        side: Of the images.
        steps: Of training.
        batch: Images a step.
        seed: Of weights, order and views.
    """
    torch.manual_seed(seed)
    model, reader = built(method, spec, parameters)
    read = reader(size=side)
    images = {
        name: torch.stack([read(one.path) for one in samples]) for name, samples in splits.items()
    }
    labels = {name: np.array([one.label for one in samples]) for name, samples in splits.items()}
    own = [one for name, one in model.named_parameters() if not name.startswith("head.")]
    own = [one for one in own if one.requires_grad]
    rates = [RATES[method], HEAD_RATE]
    optimizer = torch.optim.AdamW(
        [{"params": own, "lr": rates[0]}, {"params": model.head.parameters(), "lr": rates[1]}],
        weight_decay=DECAY,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=steps, pct_start=0.1
    )
    target = torch.tensor(labels["train"], dtype=torch.float32)
    generator, order, best, state = np.random.default_rng(seed), [], -1.0, None
    for step in range(1, steps + 1):
        if len(order) < batch:
            order = [*order, *generator.permutation(len(target)).tolist()]
        rows, order = order[:batch], order[batch:]
        model.train()
        logit_B = model(view(images["train"][rows], int(generator.integers(8))))
        loss = nn.functional.binary_cross_entropy_with_logits(logit_B, target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % -(-steps // LOOKS) == 0 or step == steps:
            found = auroc(answered(model, images["val"]), labels["val"])
            if found > best:
                best = found
                state = copy.deepcopy(
                    {name: one for name, one in model.state_dict().items() if _changes(model, name)}
                )
    model.load_state_dict(state, strict=False)
    tally = Predictions(
        ids=tuple(one.id for one in splits["test"]),
        scores=answered(model, images["test"]),
        labels=labels["test"],
    )
    return tally, sum(one.numel() for one in own)


def _changes(model, name):
    """Whether training can change a tensor of the state; buffers may."""
    known = dict(model.named_parameters()).get(name)
    return known is None or known.requires_grad


def adapt_low_rank(model, parameters):
    """Freezes the blocks and puts low-rank updates into them, of about as many parameters."""
    import peft

    linear = [
        layer
        for name, layer in model.vit.blocks.named_modules()
        if name.rpartition(".")[2] in LAYERS
    ]
    each = sum(layer.in_features + layer.out_features for layer in linear)
    rank = max(1, round(parameters / each))
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(LAYERS))
    model.vit.requires_grad_(False)
    peft.inject_adapter_in_model(config, model.vit)


@torch.inference_mode()
def answered(model, images):
    """(B,) probabilities."""
    model.eval()
    logits = [model(images[start : start + 32]) for start in range(0, len(images), 32)]
    return torch.cat(logits).double().sigmoid().numpy()
