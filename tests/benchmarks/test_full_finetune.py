"""Full fine-tuning of the same backbone with the same head, one seed: cost and accuracy beside."""

import copy
import sys
import time

import numpy as np
import pytest
import torch
from timm.data import resolve_model_data_config
from torch import nn
from torchmetrics.functional.classification import binary_auroc

from moekit import Registry
from moekit.backbone.build import build_dense
from moekit.backbone.sources import DEFAULT_ARCHITECTURE, find_weights
from moekit.cli.adapt import run_adaptation
from moekit.cli.evaluate import run_evaluation
from moekit.cli.output import ProgressDisplay
from moekit.data.stream import Preprocess
from moekit.data.views import view
from moekit.runtime.device import autocast
from tests.benchmarks.dense import Dense

pytestmark = pytest.mark.bench
SEED, BATCH, EPOCHS, PATIENCE, RATE = 0, 32, 5, 2, 3e-5
CPU = torch.device("cpu")


def test_the_specialist_is_cheaper_than_full_fine_tuning_and_as_good(tmp_path, record):
    spec = Registry().kit("industrial")
    progress = ProgressDisplay(None)
    began = time.monotonic()
    run = run_adaptation(
        "industrial", data="elpv", run_folder=tmp_path / "kit", progress=progress, seed=SEED
    )
    whole_adaptation = time.monotonic() - began
    result = run_evaluation(
        "industrial", data="elpv", run_folder=tmp_path / "kit", progress=progress
    )
    full = _fine_tune(spec)
    share = run["parameters"]["trained"] / full["parameters"]
    specialist = {
        "auroc": result["metrics"]["auroc"]["value"],
        "parameters": run["parameters"]["trained"],
        "training_seconds": run["training"]["kit"]["seconds"],
        "seconds_with_prefix_and_baseline": round(whole_adaptation, 1),
    }
    record("full_finetune", {"specialist": specialist, "full": full, "parameter_share": share})
    assert share <= 0.10
    assert specialist["auroc"] >= full["auroc"] - 0.01


def _fine_tune(spec):
    torch.manual_seed(SEED)
    vit = build_dense(DEFAULT_ARCHITECTURE, find_weights(DEFAULT_ARCHITECTURE))
    config = resolve_model_data_config(vit)
    model = Dense(vit, spec)
    read = Preprocess(size=spec.recipe.image_size, mean=config["mean"], std=config["std"])
    dataset = Registry().load_dataset("elpv", seed=SEED)
    train, val, test = (dataset.split(name) for name in ("train", "val", "test"))
    images = torch.stack([read(sample.path) for sample in train]).bfloat16()
    target = torch.tensor([sample.target for sample in train])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    steps = -(-len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=EPOCHS * steps, pct_start=0.1
    )
    best, state, waited, began = -1.0, None, 0, time.monotonic()
    for epoch in range(EPOCHS):
        _epoch(model, images, target, optimizer, schedule, np.random.default_rng([SEED, epoch]))
        auroc = _auroc(model, val, read)
        sys.stderr.write(f"full fine-tuning, epoch {epoch + 1}: AUROC {auroc:.4f}\n")
        waited = 0 if auroc > best else waited + 1
        if auroc > best:
            best, state = auroc, copy.deepcopy(model.state_dict())
        if waited == PATIENCE:
            break
    seconds = time.monotonic() - began
    model.load_state_dict(state)
    return {
        "auroc": _auroc(model, test, read),
        "parameters": sum(value.numel() for value in model.parameters()),
        "training_seconds": round(seconds, 1),
        "epochs": epoch + 1,
    }


def _epoch(model, images, target, optimizer, schedule, generator):
    model.train()
    for rows in np.array_split(generator.permutation(len(images)), -(-len(images) // BATCH)):
        batch = view(images[rows].float(), int(generator.integers(4)))
        with autocast(CPU, "bf16"):
            logit = model(batch)
        loss = nn.functional.binary_cross_entropy_with_logits(logit, target[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


@torch.inference_mode()
def _auroc(model, samples, read):
    model.eval()
    logits = []
    for start in range(0, len(samples), BATCH):
        batch = torch.stack([read(sample.path) for sample in samples[start : start + BATCH]])
        with autocast(CPU, "bf16"):
            logits.append(model(batch))
    label = torch.tensor([sample.label for sample in samples])
    return float(binary_auroc(torch.cat(logits).double().sigmoid(), label))
