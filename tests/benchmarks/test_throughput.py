"""`predict`, with reading and overlays, against the bare backbone's forward pass, in one run."""

import statistics
import time
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from moekit import Frame, Registry
from moekit.backbone.build import build_backbone
from moekit.data import Preprocess
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.predict import predict
from moekit.runtime import KitModules, Predictor, resolve
from moekit.runtime.answerer import Answerer
from moekit.runtime.device import autocast
from moekit.tasks.score import OperatingPoint

pytestmark = pytest.mark.bench
IMAGES, BATCH, ROUNDS = 128, 16, 3


@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_predict_keeps_nine_tenths_of_the_bare_throughput(tmp_path, record, arithmetic):
    registry = Registry()
    backbone = build_backbone()
    spec = registry.kit("industrial")
    size = spec.recipe.image_size
    kit = KitModules(spec=spec, registry=registry, backbone=backbone)
    resolved, frame = resolve(spec, registry), Frame(height=size, width=size)
    preprocess = Preprocess(frame=frame, mean=backbone.mean, std=backbone.std)
    answerer = Answerer(
        compute=Predictor(
            backbone=backbone, kit=kit, baseline=None, task=resolved.task, arithmetic=arithmetic
        ),
        preprocess=preprocess,
        task=resolved.task,
        context=resolved.context(classes=("good", "defective"), frame=frame),
        point=OperatingPoint(threshold=0.5, rule="given", split="val", n=0, value=0.0),
    )
    folder = Path(str(files("elpv_dataset"))) / "data" / "images"
    inputs = collect_inputs(sorted(folder.glob("*.png"))[:IMAGES])
    ready = torch.stack([preprocess(path) for _, path in inputs[:BATCH]])
    bare, whole = [], []
    for round_number in range(ROUNDS + 1):
        bare.append(_time(lambda: _forward(backbone, ready, arithmetic)))
        out = tmp_path / f"{arithmetic}-{round_number}"
        whole.append(_time(lambda out=out: _predict(inputs, answerer, out)))
    ratio = statistics.median(a / b for a, b in zip(bare[1:], whole[1:], strict=True))
    figures = {
        "arithmetic": arithmetic,
        "image_size": size,
        "batch_size": BATCH,
        "bare_images_per_s": IMAGES / statistics.median(bare[1:]),
        "predict_images_per_s": IMAGES / statistics.median(whole[1:]),
        "ratio": ratio,
    }
    record(f"throughput_{arithmetic}", figures)
    assert ratio >= 0.9


def _time(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@torch.inference_mode()
def _forward(backbone, images, arithmetic):
    for _ in range(IMAGES // BATCH):
        with autocast(images.device, arithmetic):
            backbone(images)


def _predict(inputs, answerer, out):
    predict(
        inputs,
        answerer=answerer,
        provenance={"benchmark": True},
        out=out,
        batch_size=BATCH,
        on_progress=lambda *_: None,
    )
