"""Small networks, one for each kit, next to kits that share a backbone; what each holds in memory.

`python -m tests.benchmarks.dedicated kits 8 FOLDER SIDE` and `... networks 8 FOLDER SIDE` print the
peak memory of a process that answers one image by that many of them.
"""

from __future__ import annotations

import functools
import logging
import shutil
import sys
from pathlib import Path

import torch

from moekit import Grid, HeadSite, PooledHead, Registry
from moekit.bench.kits import PLACEMENTS, kit_calls, peak_bytes, placed, seeded_kits
from moekit.export.graph import write_onnx
from moekit.export.libraries import need
from moekit.export.sessions import openvino_model, openvino_session
from moekit.jobs.session import open_backbone
from tests.benchmarks.lite0 import lite0

CALIBRATION = 8
MODEL = "model"
SHARED = ("side", "frozen")
"""Placements that let kits share all blocks of the trunk."""


class Dedicated(torch.nn.Module):
    """EfficientNet-Lite0 with the head of kits on its pooled features."""

    def __init__(self):
        super().__init__()
        self.network = lite0()
        site = HeadSite(width=self.network.num_features, blocks=1)
        self.head = PooledHead(site, summaries=("class",))

    def outputs(self, images):
        """What the head gives for images (B, 3, H, W)."""
        x_BDhw = self.network.forward_features(images)
        pooled_BD = self.network.forward_head(x_BDhw, pre_logits=True)
        return self.head([pooled_BD[:, None]], Grid(1, 1))

    def forward(self, images):
        """(B, 3, H, W) to the head's logit (B,) and map (B, 1, 1)."""
        outputs = self.outputs(images)
        return outputs["logit_B"], outputs["map_BHW"]


def write_networks(folder, count, side):
    """Writes int8 graphs of OpenVINO, each a file of its own.

    Neither time nor memory depends on the weights, so one graph is quantised and copied.
    """
    torch.manual_seed(0)
    write_onnx(
        Dedicated().eval(), ["logit", "map"], (3, side, side), folder / "model.onnx", whose="lite0"
    )
    images = torch.randn(CALIBRATION, 1, 3, side, side)
    nncf = need("nncf")
    nncf.set_log_level(logging.ERROR)
    quantised = nncf.quantize(
        openvino_model(folder / "model.onnx"),
        nncf.Dataset([image.numpy() for image in images]),
        subset_size=CALIBRATION,
    )
    need("openvino").save_model(quantised, folder / f"{MODEL}.xml", compress_to_fp16=False)
    for number in range(count):
        for kind in ("xml", "bin"):
            shutil.copy(folder / f"{MODEL}.{kind}", folder / f"{MODEL}-{number}.{kind}")


def open_networks(folder, count):
    """Calls of networks, each with weights of its own."""
    return [
        openvino_session(folder / f"{MODEL}-{number}.xml", threads=torch.get_num_threads())
        for number in range(count)
    ]


def spec_of(placement, registry, *, depth):
    """A kit like the industrial one, with that placement on a backbone of `depth` blocks."""
    own, where = PLACEMENTS[placement]
    return placed(registry.kit("industrial"), depth=depth, own=own, placement=where)


def shared_kits(placement, count, *, backbone, registry):
    """That many such kits, with drawn weights."""
    spec = spec_of(placement, registry, depth=len(backbone.blocks))
    made = {"backbone": backbone, "registry": registry, "arithmetic": "fp32"}
    return seeded_kits(spec, count, **made)


def main(what, count, folder, side):
    """Prints the peak memory of this process while it answers an image."""
    image = torch.zeros(1, 3, side, side)
    if what == "networks":
        sessions = open_networks(folder, count)

        def call(_):
            return [session(image.numpy()) for session in sessions]
    else:
        backbone = open_backbone(device="cpu", weights="auto")
        kits = shared_kits("side", count, backbone=backbone, registry=Registry())
        call = kit_calls(kits, [image], (count,))[0][f"{count} kits"]
    call(0)
    sys.stdout.write(f"{peak_bytes(functools.partial(call, 1)) or 0}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
