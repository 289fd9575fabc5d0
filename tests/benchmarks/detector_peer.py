"""A detector of torchvision for as long as the kit took: `... detector_peer ASKED.json FOLDER`.

FCOS (Tian et al. 2019, arXiv:1904.01355) with a feature pyramid on EfficientNet-Lite0 with ImageNet
weights, all of it trained but the statistics of batch normalisation, at the pictures' own size. Its
pyramid and head have 128 channels in place of 256, which doubles the epochs that the minutes buy.
Pictures are mirrored, turned and recoloured. The rates are those that such networks are commonly
trained with; the last averaged weights answer, and nothing is chosen by validation pictures.

Shapes: G objects of a picture, H and W its rows and columns.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn
from torchvision.models.detection import FCOS
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from moekit import Registry
from moekit.data import read_image
from moekit.runtime.device import autocast, pick_arithmetic
from moekit_detection.records import objects_of
from tests.benchmarks.lite0 import MEAN, NAME, STD, lite0
from tests.benchmarks.timed_training import facts_of, train_for

BATCH, WIDTH = 4, 128
RATE, ENCODER_SHARE, CLIP = 1e-3, 0.3, 1.0
JITTER, MOST = 0.3, 100
CPU = torch.device("cpu")


class Pyramid(nn.Module):
    """Features of strides 8 to 128, `WIDTH` channels each."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model(
            NAME, pretrained=False, features_only=True, out_indices=(2, 3, 4)
        )
        missing, unused = self.encoder.load_state_dict(lite0().state_dict(), strict=False)
        assert not missing, missing
        assert {name.split(".")[0] for name in unused} <= {"conv_head", "bn2", "classifier"}, unused
        channels = self.encoder.feature_info.channels()
        self.pyramid = FeaturePyramidNetwork(
            channels, WIDTH, extra_blocks=LastLevelP6P7(WIDTH, WIDTH)
        )
        self.out_channels = WIDTH

    def train(self, mode: bool = True) -> Pyramid:
        """Batch normalisation keeps its statistics: four pictures are too few for new ones."""
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x):
        """(B, 3, H, W) to a dict of maps by level."""
        maps = self.encoder(x)
        return self.pyramid({str(level): one for level, one in enumerate(maps)})


def build(classes, side):
    """The network for pictures whose longer side is `side`."""
    return FCOS(
        Pyramid(),
        classes,
        min_size=side,
        max_size=side,
        image_mean=MEAN,
        image_std=STD,
        detections_per_img=MOST,
        score_thresh=0.01,
    )


def changed(picture_3HW, box_G4, generator):
    """A picture mirrored, turned by a quarter and recoloured at random, and its boxes."""
    x, box = picture_3HW, box_G4.clone()
    if generator.random() < 0.5:
        x = x.flip(-1)
        box[:, [0, 2]] = x.shape[-1] - box[:, [2, 0]]
    if generator.random() < 0.5:
        x = x.flip(-2)
        box[:, [1, 3]] = x.shape[-2] - box[:, [3, 1]]
    if generator.random() < 0.5:
        x, box = x.transpose(-1, -2), box[:, [1, 0, 3, 2]]
    light, contrast = generator.uniform(1 - JITTER, 1 + JITTER, 2).tolist()
    x = x * light
    return ((x - x.mean()) * contrast + x.mean()).clamp(0, 1), box


def train(model, pictures, *, seconds, seed):
    """Trains for a time; returns the averaged weights as a model, and how many steps it took.

    Args:
        model: From `build`.
        pictures: (3, H, W) in [0, 1], corners (G, 4) and class numbers (G).
        seconds: Of wall time; the rates fall to nothing towards their end.
        seed: Of order and changes.
    """
    arithmetic, generator = pick_arithmetic("auto", CPU), np.random.default_rng(seed)
    encoder = list(model.backbone.encoder.parameters())
    rest = [one for name, one in model.named_parameters() if "backbone.encoder." not in name]

    def loss_of(chosen):
        images, targets = [], []
        for place in chosen:
            picture_3HW, box_G4, label_G = pictures[place]
            image, boxes = changed(picture_3HW, box_G4, generator)
            images.append(image)
            targets.append({"boxes": boxes, "labels": label_G})
        with autocast(CPU, arithmetic):
            return sum(model(images, targets).values())

    return train_for(
        seconds,
        model,
        loss_of,
        groups=[(encoder, RATE * ENCODER_SHARE), (rest, RATE)],
        count=len(pictures),
        batch=BATCH,
        generator=generator,
        name="FCOS",
        clip=CLIP,
    )


def load(samples):
    """Pictures, corners and class numbers of samples, without crowds, decoded once."""
    loaded = []
    for sample in samples:
        pixels = np.asarray(read_image(sample.path).convert("RGB"))
        objects = objects_of(sample)
        objects = objects.take(~objects.crowd_G)
        box_G4 = torch.from_numpy(objects.box_G4).float()
        box_G4[:, 2:] += box_G4[:, :2]
        picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        loaded.append((picture, box_G4, torch.from_numpy(objects.label_G)))
    return loaded


@torch.inference_mode()
def answer(model, samples):
    """COCO results of samples."""
    results = []
    for sample, (picture, _, _) in zip(samples, load(samples), strict=True):
        (found,) = model([picture])
        corner_G4 = found["boxes"]
        box_G4 = torch.cat([corner_G4[:, :2], corner_G4[:, 2:] - corner_G4[:, :2]], 1)
        numbers = sample.truth["category_ids"]
        results += [
            {
                "image_id": sample.truth["image_id"],
                "category_id": numbers[label],
                "bbox": box,
                "score": score,
            }
            for box, label, score in zip(
                box_G4.tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True
            )
        ]
    return results


def main(asked, folder):
    torch.manual_seed(asked["seed"])
    dataset = Registry().load_dataset(asked["data"], seed=asked["seed"])
    worked, began = time.process_time(), time.perf_counter()
    pictures = load(dataset.split("train"))
    side = max(max(picture.shape[1:]) for picture, _, _ in pictures)
    model = build(len(dataset.classes), side)
    left = asked["seconds"] - (time.perf_counter() - began)
    average, facts = train(model, pictures, seconds=left, seed=asked["seed"])
    facts |= {
        **facts_of(model, began=began, worked=worked),
        "pictures": len(pictures),
    }
    folder.mkdir(parents=True)
    began = time.perf_counter()
    results = answer(average, dataset.split(asked["split"]))
    facts["images_per_s"] = len(dataset.split(asked["split"])) / (time.perf_counter() - began)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
