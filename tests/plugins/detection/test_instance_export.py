"""The head with masks as a graph: the same masks in every runtime."""

import numpy as np
import pytest
import torch
from torch import nn

from moekit import Frame, Grid, HeadSite
from moekit.data import unview_boxes
from moekit.data.views import unview, view
from moekit.export.graph import write_onnx
from moekit_detection.instances.answers import CENTRE, derive, merge
from moekit_detection.instances.head import MaskHead
from moekit_detection.instances.pixels import FEATURE, KERNEL, decode_instances
from moekit_detection.masks.runs import overlaps
from moekit_detection.records import BOX, LOGIT

SIDE, PATCH = 56, 14
NAMES = (LOGIT, BOX, FEATURE, KERNEL)


class Program(nn.Module):
    """Patches as tokens and two views, as a kit's graph has them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, PATCH, stride=PATCH)
        site = HeadSite(width=16, blocks=2, classes=3)
        self.head = MaskHead(site, width=16, channels=4, stem=16, queries=8, heads=2, points=2)
        for layer in self.head.find.decode.layers:  # awake
            nn.init.normal_(layer.move[-1].weight, std=0.1)
            nn.init.normal_(layer.classify.weight, std=0.1)
        nn.init.normal_(self.head.tell.weigh[-1].weight, std=0.3)
        self.eval()

    def forward(self, images):
        found = []
        for number in (0, 2):
            seen = view(images, number)
            tokens = self.patches(seen).flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
            one = self.head([tokens, tokens], Grid(SIDE // PATCH, SIDE // PATCH), seen)
            turned = {BOX: unview_boxes(one[BOX], number), FEATURE: unview(one[FEATURE], number)}
            found.append({**one, **turned})
        merged = merge(found)
        return derive(merged)[CENTRE], *(merged[name] for name in NAMES)


def test_onnx_and_openvino_find_the_masks_that_torch_finds(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    openvino = pytest.importorskip("openvino")
    program, path = Program(), tmp_path / "head.onnx"
    names = ["centre", "logit", "box", "feature", "kernel"]
    write_onnx(program, names, (3, SIDE, SIDE), path, whose="the head")
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        centre, *wanted = program(images)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(path), "CPU", exact)
    given = compiled(images.numpy())
    for found in (session.run(None, {"images": images.numpy()}), [given[k] for k in range(5)]):
        torch.testing.assert_close(torch.tensor(found[0]), centre, atol=1e-2, rtol=0)
        torch.testing.assert_close(torch.tensor(found[3]), wanted[2], atol=1e-3, rtol=0)
        for row in range(3):
            ours, theirs = (
                decode_instances(
                    {
                        name: torch.as_tensor(value[row])
                        for name, value in zip(NAMES, one, strict=True)
                    },
                    Frame(height=SIDE, width=SIDE),
                    (SIDE, SIDE),
                )
                for one in (wanted, found[1:])
            )
            best = ours.take(np.arange(4))
            share = overlaps(best.masks, theirs.masks, np.zeros(len(theirs), bool))
            share *= best.label_G[:, None] == theirs.label_G
            there = best.masks.area_G > 20
            assert there.any()
            # Queries that are equal to rounding change places, so masks are looked for.
            assert (share.max(1)[there] > 0.95).all()
