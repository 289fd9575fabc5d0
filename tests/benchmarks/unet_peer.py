"""A U-Net for as long as the kit took: `python -m tests.benchmarks.unet_peer ASKED.json FOLDER`.

`segmentation_models_pytorch.Unet` (Ronneberger et al. 2015, arXiv:1505.04597) on EfficientNet-Lite0
with ImageNet weights, all of it trained. It learns from crops of 256 x 256 pixels, scaled, flipped
and recoloured: a crop of 320 costs 1.6 times as much, and minutes buy few epochs. It is judged on
whole frames at their full 480 x 360, since convolutions do not mind the size. The rates are those
that such networks are commonly trained with. The last averaged weights are judged. Loss and class
weights are the kit's. Nothing is chosen by validation frames.

`python -m tests.benchmarks.unet_peer choose DATA SECONDS` compares crops and rates, each trained
for so long on the first four fifths of each training sequence and judged on the rest of it.

Shapes: B crops, C classes, H and W rows and columns.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import nn

from moekit import Recipe, Registry
from moekit.data import read_image
from moekit.data.mask_table import IGNORED
from moekit.runtime.device import autocast, pick_arithmetic
from moekit.tasks.segment.learn import TARGET, SegmentLoss
from moekit.tasks.segment.metrics import miou
from moekit.tasks.segment.tally import Counts
from moekit.tasks.segment.truth import read_truth
from tests.benchmarks.lite0 import MEAN, NAME, STD, lite0
from tests.benchmarks.timed_training import facts_of, train_for

CROP, BATCH, STRIDE = 256, 8, 32
SCALES = (0.6, 1.5)
JITTER, GAP = 0.3, 3
RATE, ENCODER_SHARE = 1e-3, 0.5
CPU = torch.device("cpu")


def build(classes):
    """The network with the encoder's ImageNet weights."""
    model = smp.Unet(f"tu-{NAME}", encoder_weights=None, classes=classes)
    missing, unused = model.encoder.model.load_state_dict(lite0().state_dict(), strict=False)
    assert not missing, missing
    assert {name.split(".")[0] for name in unused} <= {"conv_head", "bn2", "classifier"}, unused
    return model.to(memory_format=torch.channels_last)


def crop(picture_3HW, truth_HW, generator, side):
    """A frame scaled, cut, flipped and recoloured at random: (3, side, side) and its truth."""
    scale = math.exp(generator.uniform(*np.log(SCALES)))
    size = [round(length * scale) for length in truth_HW.shape]
    x = nn.functional.interpolate(
        picture_3HW[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )
    y = nn.functional.interpolate(truth_HW[None, None].float(), size=size, mode="nearest-exact")
    lack = [max(0, side - length) for length in size]
    x = nn.functional.pad(x, (0, lack[1], 0, lack[0]), value=0.5)
    y = nn.functional.pad(y, (0, lack[1], 0, lack[0]), value=IGNORED)
    top, left = (int(generator.integers(0, length - side + 1)) for length in x.shape[2:])
    x, y = (plane[0, :, top : top + side, left : left + side] for plane in (x, y))
    if generator.random() < 0.5:
        x, y = x.flip(-1), y.flip(-1)
    return _recoloured(x, generator), y[0].long()


def _recoloured(x, generator):
    """Brightness, contrast and saturation, each by a factor of 1 - JITTER to 1 + JITTER."""
    light, contrast, colour = generator.uniform(1 - JITTER, 1 + JITTER, 3).tolist()
    x = x * light
    x = (x - x.mean()) * contrast + x.mean()
    gray = x.mean(0, keepdim=True)
    return ((x - gray) * colour + gray).clamp(0, 1)


def normalised(x):
    """Pixels in [0, 1] as the encoder was trained on them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def train(model, frames, *, seconds, seed, side=CROP, rate=RATE):
    """Trains for a time; returns the averaged weights as a model, and how many steps it took.

    Args:
        model: From `build`.
        frames: Pictures (3, H, W) in [0, 1] and their class numbers (H, W).
        seconds: Of wall time; the rates fall to nothing towards their end.
        seed: Of order and crops.
        side: Of a crop.
        rate: Peak rate of the decoder; the encoder has half of it.
    """
    arithmetic = pick_arithmetic("auto", CPU)
    generator, loss = np.random.default_rng(seed), SegmentLoss()
    encoder = list(model.encoder.parameters())
    rest = [value for name, value in model.named_parameters() if not name.startswith("encoder.")]

    def loss_of(chosen):
        pairs = [crop(*frames[place], generator, side) for place in chosen]
        x_B3HW, truth_BHW = (torch.stack(part) for part in zip(*pairs, strict=True))
        with autocast(CPU, arithmetic):
            logit_BCHW = model(normalised(x_B3HW))
        return loss({"logit_BChw": logit_BCHW}, {TARGET: truth_BHW}, Recipe())

    return train_for(
        seconds,
        model,
        loss_of,
        groups=[(encoder, rate * ENCODER_SHARE), (rest, rate)],
        count=len(frames),
        batch=BATCH,
        generator=generator,
        name="U-Net",
    )


@torch.inference_mode()
def answer(model, picture_3HW):
    """(H, W) uint8 class numbers of a whole frame."""
    height, width = picture_3HW.shape[1:]
    lack = (0, -width % STRIDE, 0, -height % STRIDE)
    x = nn.functional.pad(normalised(picture_3HW[None]), lack, mode="replicate")
    logit_CHW = model(x)[0, :, :height, :width]
    return logit_CHW.argmax(0).to(torch.uint8).numpy()


def load(samples, classes):
    """Pictures and truth of samples, decoded once."""
    frames = []
    for sample in samples:
        pixels = np.asarray(read_image(sample.path).convert("RGB"))
        picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        truth = read_truth(sample, picture.shape[1:], classes)
        frames.append((picture, torch.from_numpy(truth)))
    return frames


def main(asked, folder):
    torch.manual_seed(asked["seed"])
    dataset = Registry().load_dataset(asked["data"], seed=asked["seed"])
    worked, began = time.process_time(), time.perf_counter()
    frames = load(dataset.split("train"), len(dataset.classes))
    model = build(len(dataset.classes))
    left = asked["seconds"] - (time.perf_counter() - began)
    average, facts = train(model, frames, seconds=left, seed=asked["seed"])
    facts |= {
        **facts_of(model, began=began, worked=worked),
        "frames": len(frames),
    }
    masks = folder / "unet"
    masks.mkdir(parents=True)
    val = dataset.split("val")
    for sample, (picture, _) in zip(val, load(val, len(dataset.classes)), strict=True):
        mask = masks / f"{Path(sample.id).stem}.png"
        Image.fromarray(answer(average, picture)).save(mask)
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def choose(data, seconds):
    """Writes the mIoU on an inner fold of the training frames, by crop and rate."""
    dataset = Registry().load_dataset(data, seed=0)
    classes, train_on, judge_on = len(dataset.classes), [], []
    samples = sorted(dataset.split("train"), key=lambda sample: sample.id)
    for sequence in sorted({sample.subtype for sample in samples}):
        own = [sample for sample in samples if sample.subtype == sequence]
        train_on += own[: len(own) * 4 // 5 - GAP]
        judge_on += own[len(own) * 4 // 5 :]
    frames, others = load(train_on, classes), load(judge_on, classes)
    for side in (224, 256, 320):
        for rate in (1e-3, 2e-3):
            torch.manual_seed(0)
            model, facts = train(
                build(classes), frames, seconds=seconds, seed=0, side=side, rate=rate
            )
            confusion_CC = sum(
                Counts.of(answer(model, picture), truth.numpy(), classes).confusion_CC
                for picture, truth in others
            )
            told = {"crop": side, "rate": rate, "miou": miou(confusion_CC[None]), **facts}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "choose":
        choose(sys.argv[2], float(sys.argv[3]))
    else:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
